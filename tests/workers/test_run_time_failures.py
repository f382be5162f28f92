"""A request that the engine cannot go on with fails alone, and the caller learns why."""

import contextlib
import shutil

import grpc
import torch

from ponder.v1 import budget_pb2
from tests.workers.engine.sabotage import Sabotage

NAN = float("nan")


async def read(call):
    """The next event; None at the end, however that is."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        event = await call.read()
        return None if event is grpc.aio.EOF else event


def engine_of(worker):
    return worker.parts.engine._engine


async def test_logits_that_are_not_finite_are_said_with_their_position(worker, make_request):
    def fail(run, plan, logprobs):
        if run == 3:
            logprobs[0] = NAN

    Sabotage(engine_of(worker), fail)

    code, details = await worker.refusal(make_request())
    reply = await worker.think(make_request(request_id="request-2"))

    assert code is grpc.StatusCode.INTERNAL
    assert "(thinking tokens before it: 2) are not finite" in details
    assert reply.done.settled
    load = await worker.load_when(lambda load: load.failed_requests > 0)
    assert (load.failed_requests, load.running) == (1, 0)
    assert load.free_kv_pages == load.total_kv_pages


async def test_a_failed_request_is_left_for_the_router_to_resume_and_settle(worker, make_request):
    def fail(run, plan, logprobs):
        if run == 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    whole = await worker.think(make_request(request_id="whole"))
    Sabotage(engine_of(worker), fail)
    call = worker.stub.Think(make_request(), timeout=60)
    thinking: list[int] = []
    while (event := await read(call)) is not None:
        thinking.extend(event.thinking.ids)
    assert "Tried to allocate 2.00 GiB" in await call.details()

    resumed = await worker.think(make_request(segment=1, thinking_prefix_ids=thinking))

    assert len(thinking) == 7
    assert thinking + resumed.thinking_ids == whole.thinking_ids
    assert resumed.answer == whole.answer
    assert [trace.request_id for trace in await worker.traces()] == ["whole", "request-1"]


async def test_a_model_without_markers_is_served_as_one_that_does_not_think(
    tiny_dir, tmp_path, start_worker, make_request, caplog
):
    directory = tmp_path / "tiny"
    shutil.copytree(tiny_dir, directory)
    for path in directory.iterdir():
        if path.suffix in (".json", ".jinja"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("think>", "thunk>"), encoding="utf-8")

    worker = await start_worker(model_dir=directory)
    reply = await worker.think(make_request())

    assert "has no thinking tokens: it answers at once" in caplog.text
    assert reply.answer
    assert reply.done.stop == budget_pb2.THINKING_STOP_UNSPECIFIED
    assert reply.done.usage.thinking_tokens == 0
