"""Thinking that stops when trial answers are sure, in front of each kind of server."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ponder.counts import Totals
from ponder.v1 import budget_pb2
from tests.workers.conftest import MODEL, TENANT
from tests.workers.upstream.conftest import SHAPES, Open, Upstream
from tests.workers.upstream.fake_server import Fault
from tests.workers.upstream.shapes import LlamaCppShape, SglangShape, VllmShape
from workers.early_exit import ExitRules
from workers.errors import EarlyExitFileError
from workers.upstream.errors import UpstreamUnusable

THINKING = "try 3 and 5\nthat is 8\nso it is 4\nyes it is\ndone\n"
SURE = len("try 3 and 5\n")
RULES = {
    "separators": ["\n"],
    "agreement": 1,
    "min_thinking_tokens": 0,
    "min_gap_tokens": 1,
    "max_gap_tokens": 60,
    "backoff": 1.0,
    "repetition": 1.0,
}
ModelDir = Callable[..., str]


@pytest.fixture
def model_dir(tiny_dir: Path, tmp_path: Path) -> ModelDir:
    """A folder with rules for early exit, which keywords override."""

    def write(**rules: Any) -> str:
        folder = shutil.copytree(tiny_dir, tmp_path / "with-rules", dirs_exist_ok=True)
        (folder / "early_exit.json").write_text(json.dumps({"rules": RULES | rules}))
        return str(folder)

    return write


@pytest.fixture
def ask(make_request):
    return lambda **changes: make_request(
        **({"thinking_budget": 100, "max_answer_tokens": 50} | changes)
    )


@pytest.fixture
def start(open_upstream: Open, model_dir: ModelDir) -> Callable[..., Any]:
    """A worker whose rules are overridden by keywords; its server waits for the trials."""

    async def start(shape: Any, *, waits: int = 100, **rules: Any) -> Upstream:
        upstream = await open_upstream(shape, model_dir=model_dir(**rules))
        upstream.server.model.thinking = THINKING
        upstream.server.model.sure_after = SURE
        upstream.server.waits_for_trials = waits
        upstream.server.count_anew()
        return upstream

    return start


@pytest.fixture(params=SHAPES)
async def upstream(request, start):
    """One of each kind."""
    return await start(SHAPES[request.param]())


async def test_a_sure_trial_ends_the_thinking_at_its_place(upstream, model, ask):
    reply = await upstream.worker.think(ask(include_thinking=True))

    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert reply.done.finish_reason == budget_pb2.FINISH_REASON_STOP
    assert SURE <= len(reply.thinking_ids) <= SURE + 1  # pieces of vLLM have two tokens
    assert tuple(reply.thinking_ids) == model.thinking_ids()[: len(reply.thinking_ids)]
    assert reply.thinking_text == THINKING[: len(reply.thinking_ids)]
    assert reply.answer == "It is 4."
    assert upstream.server.num_trials == 1


async def test_the_books_of_an_exit_are_the_same_everywhere(upstream, ask):
    reply = await upstream.worker.think(ask())

    usage = reply.done.usage
    [trace] = await upstream.worker.traces()
    assert trace.usage == usage
    assert trace.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert await upstream.worker.ledger.totals(MODEL, TENANT) == Totals.of(usage)
    assert len(reply.thinking_ids) == usage.thinking_tokens
    assert usage.forced_tokens == 1
    assert upstream.worker.parts.engine.load().branches_dropped == 0


@pytest.mark.parametrize(
    ("shape", "num_events", "num_unread"),
    [
        (VllmShape(), SURE // 2 + 1, 0),
        (VllmShape(num_per_event=5), SURE // 5 + 2, 0),
        (SglangShape(), SURE + 1, 0),
        (SglangShape("incremental_streaming_output"), SURE + 1, 0),
        (LlamaCppShape(), SURE + 2, 1),  # its newest token may be an end: the next event tells
    ],
)
async def test_usage_is_what_the_server_counted(start, ask, shape, num_events, num_unread):
    upstream = await start(shape, min_thinking_tokens=SURE)
    upstream.fail(Fault(after=num_events, hangs=True))  # it sends the token that starts the trial

    reply = await upstream.worker.think(ask())

    usage = reply.done.usage
    fed, end = 1, 1
    sampled = usage.thinking_tokens + usage.answer_tokens + end + usage.probe_tokens - fed
    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert upstream.server.num_sampled == sampled + num_unread
    assert upstream.worker.parts.engine.load().sampled_tokens == sampled - 2 * end


async def test_unsure_trials_leave_the_thinking_to_its_budget(upstream, model, ask):
    upstream.server.model.sure_after = 1000

    reply = await upstream.worker.think(ask(thinking_budget=40))

    usage = reply.done.usage
    assert reply.done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert tuple(reply.thinking_ids) == model.thinking_ids()[:40]
    assert usage.thinking_tokens == 40
    assert upstream.server.num_trials >= 2
    each = 1 + len("It is 4.") + 1  # fed, answered, and its end
    assert usage.probe_tokens == upstream.server.num_trials * each
    assert upstream.server.num_sampled == 40 + len("It is 4.") + 1 + usage.probe_tokens - (
        upstream.server.num_trials
    )


async def test_trials_have_to_agree(start, ask):
    upstream = await start(VllmShape(num_per_event=1), agreement=2)

    reply = await upstream.worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert upstream.server.num_trials == 2
    assert reply.done.usage.thinking_tokens == len("try 3 and 5\nthat is 8\n")


async def test_sure_trials_that_differ_stop_nothing(start, ask):
    upstream = await start(VllmShape(num_per_event=1), agreement=2)
    upstream.server.model.wavers = True

    reply = await upstream.worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert reply.done.usage.thinking_tokens == len(THINKING)
    assert upstream.server.num_trials == THINKING.count("\n") - 1  # the last step ends it


async def test_a_hopeless_trial_is_left_at_once(start, ask):
    upstream = await start(VllmShape(num_per_event=1), max_entropy=0.1)
    upstream.server.model.sure_after = 1000

    reply = await upstream.worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert reply.done.usage.probe_tokens == upstream.server.num_trials * 2  # fed and sampled


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=429),
        Fault(status=400),
        Fault(after=2),
        Fault(garbage='{"choices": 3}'),
    ],
)
async def test_a_trial_that_fails_is_dropped_and_counted(start, model, ask, fault):
    upstream = await start(VllmShape(num_per_event=1))
    upstream.fail(None, fault, fault, fault, fault)

    reply = await upstream.worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.answer == "It is 4."
    assert upstream.worker.parts.engine.load().branches_dropped == 4
    assert upstream.worker.parts.engine.load().failed == 0


async def test_a_trial_slower_than_the_thinking_is_dropped(start, model, ask):
    upstream = await start(VllmShape(num_per_event=1), waits=1, max_gap_tokens=20)
    upstream.server.model.sure_after = 1000
    upstream.fail(None, Fault(hangs=True))

    reply = await upstream.worker.think(ask())

    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.answer == "It is 4."
    assert upstream.worker.parts.engine.load().branches_dropped == 1


async def test_the_end_of_the_thinking_ends_its_trial(start, model, ask):
    upstream = await start(VllmShape(num_per_event=1), waits=1)
    upstream.fail(None, Fault(after=1, hangs=True))

    reply = await upstream.worker.think(ask())
    await upstream.server.until(lambda: upstream.server.num_open == 0)

    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED


async def test_a_cancelled_call_closes_its_trial_too(upstream, ask):
    server = upstream.server
    server.waits_for_trials = 1
    upstream.fail(Fault(after=SURE + 2, hangs=True), Fault(after=1, hangs=True))
    call = upstream.worker.stub.Think(ask(), timeout=60)
    await server.until(lambda: server.num_hanging == 2)

    call.cancel()
    await server.until(lambda: server.num_open == 0)
    await upstream.worker.parts.segments.wait_until_idle()

    [trace] = await upstream.worker.traces()
    assert trace.stop == budget_pb2.THINKING_STOP_CANCELLED
    assert SURE < trace.usage.thinking_tokens <= 2 * (SURE + 2)
    assert upstream.worker.parts.engine.load().running == 0


async def test_thinking_that_only_repeats_itself_is_closed(open_upstream, model_dir, ask):
    folder = model_dir(separators=["@"], repetition=0.9, repetition_window=5, loop_trials=1)
    upstream = await open_upstream(VllmShape(num_per_event=1), model_dir=folder, wrap_up_text="So:")
    upstream.server.model.thinking = "over " * 20
    upstream.server.model.sure_after = 1000
    upstream.fail(Fault(after=60, hangs=True))

    reply = await upstream.worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_CONVERGED
    assert 12 <= reply.done.usage.thinking_tokens == len(reply.thinking_ids) <= 60
    assert reply.done.usage.forced_tokens == len("So:") + 1
    assert reply.answer == "It is 4."


async def test_requests_leave_places_for_trials(open_upstream, model_dir):
    upstream = await open_upstream(LlamaCppShape(num_slots=8), model_dir=model_dir())

    assert upstream.worker.parts.engine.load().running == 0
    load = await upstream.worker.load_when(lambda load: True)
    assert load.max_running == 6


NO_LOGPROBS = "the server tells no log-probabilities"
NO_PREFIXES = "the server caches no prefixes"
OF_VLLM = 'vllm:cache_config_info{block_size="16",enable_prefix_caching="%s",engine="0"} 1.0\n'
LACKS = [
    (VllmShape(tells_logprobs=False), NO_LOGPROBS),
    (VllmShape(metrics=OF_VLLM % "False"), NO_PREFIXES),
    (SglangShape(disable_radix_cache=True), NO_PREFIXES),
    (LlamaCppShape(num_slots=1), "the server runs one request at once"),
]


@pytest.mark.parametrize(("shape", "lack"), LACKS)
async def test_what_the_server_lacks_switches_it_off(
    open_upstream, model_dir, ask, caplog, shape, lack
):
    caplog.set_level(logging.INFO)
    upstream = await open_upstream(shape, model_dir=model_dir())
    upstream.server.model.thinking = THINKING

    reply = await upstream.worker.think(ask())

    assert f"early exit: off, {lack}" in caplog.text
    assert reply.done.usage.probe_tokens == 0
    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED


@pytest.mark.parametrize(("shape", "lack"), LACKS)
async def test_what_was_asked_for_and_is_lacking_is_refused(open_upstream, model_dir, shape, lack):
    with pytest.raises(UpstreamUnusable, match=f"WORKER_EARLY_EXIT: {lack}"):
        await open_upstream(shape, model_dir=model_dir(), early_exit="on")


@pytest.mark.parametrize(
    ("shape", "variables", "line"),
    [
        (VllmShape(), {}, "off, early_exit.json would be in WORKER_MODEL_DIR"),
        (SglangShape(), {}, "has no early_exit.json; `ponder calibrate` writes one"),
        (VllmShape(), {"early_exit": "off"}, "off, by WORKER_EARLY_EXIT"),
        (VllmShape(), {"early_exit": "on"}, "on, by the default rules"),
        (VllmShape(), {"early_exit": "on"}, "does not tell whether it caches prefixes"),
        (VllmShape(metrics=OF_VLLM % "True"), {"early_exit": "on"}, "and caches prefixes"),
        (SglangShape(disable_radix_cache=False), {"early_exit": "on"}, "and caches prefixes"),
        (LlamaCppShape(num_slots=8), {"early_exit": "on"}, "trials at once: 2, beside requests: 6"),
    ],
)
async def test_it_says_whether_thinking_stops_early(open_upstream, caplog, shape, variables, line):
    caplog.set_level(logging.INFO)

    await open_upstream(shape, **variables)

    assert line in caplog.text


async def test_the_default_rules_wait_for_two_trials_that_agree(open_upstream, ask):
    upstream = await open_upstream(VllmShape(), early_exit="on")
    upstream.server.waits_for_trials = 100
    upstream.server.count_anew()
    upstream.server.model.thinking = ("x" * 40 + "\n\n") * 3

    reply = await upstream.worker.think(ask(thinking_budget=200))

    assert ExitRules().agreement == 2
    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert upstream.server.num_trials == 2


async def test_rules_that_cannot_be_used_keep_a_worker_from_starting(open_upstream, model_dir):
    with pytest.raises(EarlyExitFileError, match="confidence must be in"):
        await open_upstream(VllmShape(), model_dir=model_dir(confidence=7))
