"""A worker whose model has rules for early exit: what it streams, reports and settles."""

import shutil
from pathlib import Path

import pytest

import workers
from ponder.v1 import budget_pb2
from workers.errors import EarlyExitFileError

REFERENCE = Path(workers.__file__).parent / "reference"
SETTINGS = {"model_dir": REFERENCE, "wrap_up_text": "", "model_name": "tiny"}
QUESTION = "Use 3, 5, 7 and 2 to make 24."


@pytest.fixture
def ask(make_request):
    def ask(request_id="r", **changes):
        fields = {"prompt": QUESTION, "thinking_budget": 2000, "max_answer_tokens": 48}
        sampling = budget_pb2.Sampling(temperature=0.4, seed=3)
        return make_request(request_id=request_id, sampling=sampling, **(fields | changes))

    return ask


async def test_a_sure_answer_ends_the_thinking(start_worker, ask, tmp_path):
    off = await start_worker(**SETTINGS, early_exit="off", spool_dir=tmp_path / "spool-off")
    plain = await off.think(ask())
    worker = await start_worker(**SETTINGS)

    reply = await worker.think(ask("other"))

    assert plain.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert reply.done.finish_reason == budget_pb2.FINISH_REASON_STOP
    assert reply.answer == plain.answer
    assert reply.thinking_ids == plain.thinking_ids[: len(reply.thinking_ids)]
    assert len(reply.thinking_ids) < 0.75 * len(plain.thinking_ids)


async def test_the_books_of_an_exit_are_the_same_everywhere(start_worker, ask):
    worker = await start_worker(**SETTINGS)

    reply = await worker.think(ask())

    [trace] = await worker.traces()
    usage = reply.done.usage
    assert trace.usage == usage
    assert trace.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert len(reply.thinking_ids) == usage.thinking_tokens
    assert reply.num_answer_tokens == usage.answer_tokens
    assert usage.forced_tokens == 1
    assert usage.probe_tokens > 0


async def test_an_engine_in_a_process_of_its_own_stops_early_too(start_worker, ask):
    worker = await start_worker(**SETTINGS, engine_process="process")

    reply = await worker.think(ask())

    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT


async def test_a_model_without_rules_thinks_to_its_end(start_worker, ask, make_request):
    worker = await start_worker(early_exit="auto")  # the tiny model has none

    reply = await worker.think(make_request(thinking_budget=100))

    assert reply.done.usage.probe_tokens == 0


async def test_early_exit_can_be_asked_for_without_rules(start_worker, ask, tmp_path):
    model = shutil.copytree(REFERENCE, tmp_path / "tiny")
    (model / "early_exit.json").unlink()
    worker = await start_worker(**(SETTINGS | {"model_dir": model}), early_exit="on")

    reply = await worker.think(ask())

    assert reply.done.usage.probe_tokens > 0  # it checks its answer again and again


async def test_rules_that_cannot_be_used_keep_a_worker_from_starting(start_worker, tmp_path):
    model = shutil.copytree(REFERENCE, tmp_path / "tiny")
    (model / "early_exit.json").write_text('{"rules": {"confidence": 7}}')

    with pytest.raises(EarlyExitFileError, match="confidence must be in"):
        await start_worker(**(SETTINGS | {"model_dir": model}))
