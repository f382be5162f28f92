"""A request through the real service: the reply, the stream, and what the ledger says of it."""

from classifier.features import encode
from ponder.settlement import prompt_text
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import (
    FINISH_REASON_STOP,
    POOL_EASY,
    POOL_THINKING,
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_SIMPLE,
    ChatMessage,
    Sampling,
)
from tests.router.small_worker import answer_of, token_at


def expected_answer(num_tokens: int, seed: int) -> str:
    return "".join(answer_of([token_at(seed, place) for place in range(num_tokens)]))


async def test_a_question_is_answered_with_its_decision(start):
    async with start() as stack:
        reply = await stack.reason(sampling=Sampling(seed=3), request_id="q-1")

    assert reply.request_id == "q-1"
    assert reply.answer == expected_answer(40, seed=3)
    assert (reply.thinking_stop, reply.finish_reason) == (
        THINKING_STOP_FINISHED,
        FINISH_REASON_STOP,
    )
    assert (reply.decision.tier, reply.decision.pool) == (TIER_MODERATE, POOL_EASY)
    assert reply.usage.thinking_tokens == 40


async def test_the_reply_tells_exactly_what_the_ledger_holds(start):
    async with start() as stack:
        reply = await stack.reason(request_id="q-1")
        (trace,) = await stack.traces()

    assert trace.usage == reply.usage
    assert (trace.request_id, trace.tenant, trace.worker) == ("q-1", "local", "easy")
    assert (trace.tier, trace.pool, trace.rule) == (
        reply.decision.tier,
        reply.decision.pool,
        reply.decision.rule,
    )


async def test_a_trace_holds_hashed_features_and_no_prompt(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        await stack.reason(prompt="my secret")
        (trace,) = await stack.traces()

    assert trace.prompt is None
    assert trace.features == tuple(encode("my secret").tolist())


async def test_prompts_are_kept_in_traces_when_asked_for(start):
    async with start(store_prompts=True) as stack:
        await stack.reason(prompt="my question")
        (trace,) = await stack.traces()

    assert trace.prompt == "my question"


async def test_a_budget_is_a_cap(start):
    async with start() as stack:
        reply = await stack.reason(thinking_budget=7)

    assert reply.thinking_stop == THINKING_STOP_EXHAUSTED
    assert (reply.usage.thinking_tokens, reply.usage.escalations) == (7, 0)
    assert stack.easy.requests[0].answer_on_exhaustion


async def test_a_budget_of_nothing_is_answered_without_thinking(start):
    async with start() as stack:
        reply = await stack.reason(thinking_budget=0)

    assert reply.answer
    assert reply.usage.thinking_tokens == 0


async def test_large_tiers_go_to_the_thinking_pool(start):
    async with start() as stack:
        reply = await stack.reason(tier=TIER_COMPLEX)

    assert (reply.decision.pool, len(stack.thinking.requests)) == (POOL_THINKING, 1)


async def test_thinking_is_returned_when_asked_for(start):
    async with start() as stack:
        with_thinking = await stack.reason(thinking_budget=3, include_thinking=True)
        without = await stack.reason(thinking_budget=3)

    assert len(with_thinking.thinking.split()) == 3
    assert not without.HasField("thinking")


async def test_messages_reach_the_worker_in_order(start):
    said = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Hi")]
    async with start() as stack:
        await stack.reason(messages=said)

    (sent,) = stack.easy.requests
    assert list(sent.messages) == said
    assert prompt_text(sent) == "Be brief.\n\nHi"


async def test_a_seed_is_drawn_when_none_is_given(start):
    async with start() as stack:
        await stack.reason()
        await stack.reason()

    first, second = (sent.sampling for sent in stack.easy.requests)
    assert first.HasField("seed")
    assert first.seed != second.seed


async def test_a_stream_is_decision_progress_answer_and_final(start):
    async with start() as stack:
        events = await stack.stream()

    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-1]) == ("decision", "final")
    assert kinds[1:-1] == sorted(kinds[1:-1], reverse=True)
    assert "".join(event.answer_delta for event in events) == events[-1].final.answer
    assert [e.progress.thinking_tokens for e in events if e.HasField("progress")] == [16, 32, 40]


async def test_a_plan_decides_without_touching_a_worker(start):
    async with start() as stack:
        planned = await stack.plan(tier=TIER_SIMPLE)
        replied = await stack.reason(tier=TIER_SIMPLE)

    assert planned == replied.decision
    assert len(stack.easy.requests) == 1


async def test_timings_are_told(start):
    async with start() as stack:
        timings = (await stack.reason()).timings

    assert timings.queue_ms == 1.0
    assert 0 < timings.router_ms < timings.first_token_ms < timings.total_ms


async def test_feedback_is_stored_for_the_tenant(start):
    async with start() as stack:
        reply = await stack.reason()
        await stack.stub.Feedback(
            pb.FeedbackRequest(request_id=reply.request_id, correct=True, score=0.5)
        )
        ((_, feedback),) = [entry async for entry in stack.ledger.read_feedback()]

    assert (feedback.tenant, feedback.request_id) == ("local", reply.request_id)
    assert (feedback.correct, feedback.score) == (True, 0.5)


async def test_an_answered_request_is_counted_by_tier_pool_and_stop(start):
    async with start() as stack:
        await stack.reason(tier=TIER_COMPLEX)

        labels = {"tier": "complex", "pool": "thinking", "stop": "finished"}
        assert stack.counted("ponder.router.requests", **labels) == 1


async def test_a_model_without_traces_starts_low_by_the_general_classifier(start):
    async with start(classifier="") as stack:
        talk = await stack.plan(prompt="Hello, and thanks again!")
        surely = await stack.plan(prompt="Hello, and thanks again!", coverage=0.9)
        hard = await stack.plan(prompt="Prove that there are infinitely many primes $4k + 3$.")

    assert (talk.rule, surely.rule) == (pb.RULE_AUTOMATIC, pb.RULE_AUTOMATIC)
    assert talk.tier == TIER_SIMPLE
    assert surely.tier > TIER_SIMPLE
    assert hard.tier > TIER_MODERATE
