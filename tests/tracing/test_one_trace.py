"""One trace from the client through the router to the workers, and not a word of the request."""

import asyncio
import itertools
import logging
from collections import Counter

import pytest
from opentelemetry.trace import SpanKind

from ponder.trace_context import trace_id
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_MODERATE, Sampling
from router.tiers import TierTables

PROMPT = "Reach 24 using each of 3, 5, 6 and 8 once."
SMALL_BUDGETS = TierTables.parse("4,8,16,32")


def question(**fields) -> pb.ReasonRequest:
    sampling = Sampling(temperature=0, seed=3)
    return pb.ReasonRequest(prompt=PROMPT, sampling=sampling, max_answer_tokens=8, **fields)


async def ask(stack, request) -> pb.ReasonReply:
    with stack.client.begin("ask", SpanKind.CLIENT) as trace:
        reply: pb.ReasonReply = await stack.stub.Reason(
            request, timeout=60, metadata=trace.metadata
        )
        return reply


def named(spans, name):
    return sorted((span for span in spans if span.name == name), key=lambda span: span.start_time)


def parent_of(span, spans):
    return next(other for other in spans if other.context.span_id == span.parent.span_id)


async def test_an_escalated_request_is_one_trace_over_three_processes(start):
    async with start(easy_max_budget=8, tier_budgets=SMALL_BUDGETS) as stack:
        reply = await ask(stack, question())
        spans = await stack.spans_when(lambda spans: Counter(s.name for s in spans)["work"] == 3)

    assert reply.usage.escalations == 2
    assert len({span.context.trace_id for span in spans}) == 1
    assert [span.name for span in spans if span.parent is None] == ["ask"]
    (request,), segments, works = (named(spans, n) for n in ("request", "segment", "work"))
    assert parent_of(request, spans).name == "ask"
    assert {parent_of(span, spans) for span in segments} == {request}
    assert [parent_of(span, spans) for span in works] == segments
    ended = [span.attributes["ponder.segment.ended"] for span in segments]
    assert ended == ["exhausted", "exhausted", "answered"]
    pools = [span.attributes["ponder.pool"] for span in segments]
    assert pools == ["easy", "thinking", "thinking"]
    assert [span.attributes["ponder.worker"] for span in works] == pools
    assert [span.attributes["ponder.prefix_tokens"] for span in segments] == [0, 8, 16]


async def test_the_spans_hold_the_decision_the_phases_and_what_was_spent(start):
    async with start(tier_budgets=SMALL_BUDGETS) as stack:
        reply = await ask(stack, question(request_id="q-1"))
        spans = await stack.spans_when(lambda spans: Counter(s.name for s in spans)["work"] == 3)

    by_parent = Counter((parent_of(span, spans).name, span.name) for span in spans if span.parent)
    assert by_parent == {
        ("ask", "request"): 1,
        ("request", "classify"): 1,
        ("request", "decide"): 1,
        ("request", "segment"): 3,
        ("segment", "work"): 3,
        **{("work", phase): 3 for phase in ("queue", "prefill", "think")},
        ("work", "answer"): 1,
        ("work", "settle"): 1,
    }
    (decide,), (request,) = named(spans, "decide"), named(spans, "request")
    assert decide.attributes["ponder.tier"] == "moderate"
    assert decide.attributes["ponder.rule"] == "degraded_default"
    told = request.attributes
    assert (told["ponder.request_id"], told["ponder.tier"]) == ("q-1", "research")
    assert told["gen_ai.request.model"] == "tiny"
    assert told["gen_ai.usage.reasoning.output_tokens"] == reply.usage.thinking_tokens == 32
    assert told["gen_ai.usage.output_tokens"] == 32 + reply.usage.answer_tokens
    assert told["ponder.thinking.stop"] == "exhausted"
    work = named(spans, "work")[-1]
    phases = [s for s in spans if s.parent and s.parent.span_id == work.context.span_id]
    for span in phases:
        assert work.start_time <= span.start_time <= span.end_time <= work.end_time
    in_order = [s for n in ("queue", "prefill", "think", "answer") for s in named(phases, n)]
    assert all(a.end_time == b.start_time for a, b in itertools.pairwise(in_order))


async def test_a_failed_over_request_is_one_trace_and_says_who_was_lost(start):
    async with start(tier_budgets=TierTables.parse("4,600,2500,3000")) as stack:
        with stack.client.begin("ask", SpanKind.CLIENT) as trace:
            capped = question(max_tier=TIER_MODERATE)
            call = stack.stub.ReasonStream(capped, timeout=60, metadata=trace.metadata)
            while not (await call.read()).HasField("progress"):
                pass
            await stop_now(stack.easy)
            while (event := await call.read()).WhichOneof("event") != "final":
                pass
        spans = await stack.spans_when(lambda spans: len(named(spans, "work")) == 2)

    assert event.final.answer
    assert len({span.context.trace_id for span in spans}) == 1
    lost, resumed = named(spans, "segment")
    assert lost.attributes["ponder.segment.ended"] == "lost"
    assert lost.attributes["error.type"] == "WorkerLost"
    assert lost.attributes["ponder.thinking_tokens"] == resumed.attributes["ponder.prefix_tokens"]
    assert resumed.attributes["ponder.segment.ended"] in ("exhausted", "answered")
    assert resumed.attributes["server.address"].endswith(f":{stack.thinking.server.port}")
    assert parent_of(named(spans, "work")[-1], spans) is resumed


async def stop_now(worker) -> None:
    hurry = asyncio.Event()
    hurry.set()
    await worker.server.drain(hurry)


async def test_no_span_holds_a_word_of_prompt_thinking_or_answer(start):
    async with start(tier_budgets=SMALL_BUDGETS) as stack:
        reply = await ask(stack, question(include_thinking=True))
        bad = question()
        bad.messages.add(role="user", content=PROMPT)
        with pytest.raises(Exception, match="both set"):
            await ask(stack, bad)
        spans = await stack.spans_when(lambda spans: Counter(s.name for s in spans)["ask"] == 2)

    told = "\n".join(span.to_json() for span in spans)
    for words in (PROMPT, reply.answer, reply.thinking, "Reach", "both set"):
        assert words
        assert words not in told
    assert not any(span.events for span in spans)


async def test_a_caller_that_does_not_sample_is_heeded_everywhere(start):
    async with start(tier_budgets=SMALL_BUDGETS) as stack:
        header = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-00")
        await stack.stub.Reason(question(), timeout=60, metadata=(header,))

    assert stack.exporter.get_finished_spans() == ()


async def test_the_worker_counts_its_segments_and_shows_its_load(start):
    async with start(easy_max_budget=8, tier_budgets=SMALL_BUDGETS) as stack:
        reply = await ask(stack, question())
        await stack.spans_when(lambda spans: Counter(s.name for s in spans)["work"] == 3)
        found = points(stack.worker_metrics)

    assert {p.attributes["stop"] for p in found["ponder.worker.segments"]} == {"exhausted"}
    tokens = {p.attributes["kind"]: p.value for p in found["ponder.worker.tokens"]}
    assert tokens["thinking"] == 24  # of 32, 8 were thought on the other worker
    assert tokens["answer"] == reply.usage.answer_tokens
    # One of the 400 takes what nobody reads.
    assert [p.value for p in found["ponder.worker.kv_pages.total"]] == [399]
    assert all(p.attributes["pool"] == "thinking" for group in found.values() for p in group)
    assert {"ponder.worker.queue", "ponder.worker.running", "ponder.worker.waiting"} <= set(found)


def points(reader):
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_log_lines_of_router_and_worker_name_the_trace(start, caplog):
    traces: dict[str, set[str]] = {}

    def note(record: logging.LogRecord) -> bool:
        traces.setdefault(record.name, set()).add(trace_id())
        return True

    caplog.handler.addFilter(note)
    caplog.set_level(logging.INFO)
    async with start(tier_budgets=SMALL_BUDGETS) as stack:
        header = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-00")
        await stack.stub.Reason(question(), timeout=60, metadata=(header,))
    caplog.handler.removeFilter(note)

    assert traces["router.pipeline"] == traces["workers.segment"] == {"a" * 32}
