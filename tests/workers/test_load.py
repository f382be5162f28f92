"""What routers see when they watch a worker."""

import asyncio

from ponder.v1 import worker_pb2


async def test_an_idle_worker_says_what_it_could_run(worker):
    load = await worker.load_when(lambda load: True)

    assert (load.running, load.waiting, load.max_running) == (0, 0, 64)
    assert load.free_kv_pages == load.total_kv_pages == 399
    assert (load.tokens_per_second, load.time_per_output_token_ms) == (0, 0)
    assert (load.time_to_first_token_ms, load.batch_size) == (0, 0)
    assert (load.preemptions, load.prefix_tokens, load.failed_requests) == (0, 0, 0)
    assert list(load.models) == ["tiny"]


async def test_loads_keep_coming_without_any_change(worker):
    watch = worker.stub.Watch(worker_pb2.WatchRequest(), timeout=10)

    loads = [await watch.read() for _ in range(3)]
    watch.cancel()

    assert all(load.max_running == 64 for load in loads)


async def test_a_request_shows_while_it_runs_and_leaves_its_speed(worker, make_request):
    call = worker.stub.Think(make_request(thinking_budget=3000))
    busy = await worker.load_when(lambda load: load.running == 1)
    await call.read()
    call.cancel()
    idle = await worker.load_when(lambda load: load.running == 0)

    assert busy.free_kv_pages <= busy.total_kv_pages
    assert idle.free_kv_pages == idle.total_kv_pages
    assert idle.tokens_per_second > 0
    assert idle.time_per_output_token_ms > 0
    assert idle.time_to_first_token_ms > 0
    assert 0 < idle.batch_size <= 1


async def test_a_prompt_that_was_found_in_the_cache_shows(worker, make_request):
    for name in ("first", "second"):
        await worker.think(make_request(request_id=name))

    load = await worker.load_when(lambda load: load.prefix_tokens > 0)

    assert load.prefix_tokens == 32  # the whole pages of the prompt


async def test_every_watcher_is_told(worker, make_request):
    watches = [worker.stub.Watch(worker_pb2.WatchRequest(), timeout=10) for _ in range(2)]
    for watch in watches:
        await watch.read()

    await worker.think(make_request())

    for watch in watches:
        while not (await watch.read()).tokens_per_second:
            pass
        watch.cancel()


async def test_it_tells_its_cap_and_when_it_drains(start_worker):
    worker = await start_worker(max_thinking_budget=700)
    watch = worker.stub.Watch(worker_pb2.WatchRequest(), timeout=10)
    first = await watch.read()
    draining = asyncio.create_task(worker.parts.server.drain())
    while not (load := await watch.read()).is_draining:
        pass
    watch.cancel()
    await draining

    assert (first.max_thinking_budget, first.is_draining) == (700, False)
    assert load.max_thinking_budget == 700
