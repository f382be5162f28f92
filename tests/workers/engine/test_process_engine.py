"""The engine in a process of its own: what the thread gives, and every way to its end."""

import asyncio
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.workers.engine import preparations
from tests.workers.engine.conftest import special_tokens
from workers.engine import (
    CheckpointError,
    EngineConfig,
    EngineStopped,
    FinishReason,
    InvalidRequest,
    LLMEngine,
    OutOfMemory,
    ProcessEngine,
    ThreadEngine,
)

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60
SETTINGS = {"page_size": 4, "num_pages": 800, "max_running": 8, "max_model_len": 2000}


@pytest.fixture
def launch(models):
    """Start an engine in a process; keywords override its configuration."""

    def start(prepare=preparations.one_thread, **overrides) -> ProcessEngine:
        settings = {"model_dir": models("qwen3-sliding")[0], **SETTINGS, **overrides}
        make = partial(LLMEngine, EngineConfig(**settings), special_tokens())
        return ProcessEngine(make, prepare)

    return start


async def collect(engine, request):
    return [output async for output in engine.submit(request)]


def tokens_of(outputs):
    return [(o.request_id, o.thinking_ids, o.answer_ids) for o in outputs]


async def test_outputs_are_those_of_the_thread(launch, make_engine, make_request):
    requests = [make_request(index, temperature=0.8) for index in range(5)]
    streams = {}
    for engine in (launch(), ThreadEngine(make_engine(**SETTINGS))):
        async with engine, asyncio.timeout(DEADLINE_S):
            runs = await asyncio.gather(*(collect(engine, request) for request in requests))
            load = engine.load()
        streams[type(engine)] = [tokens_of(outputs) for outputs in runs]
        assert (load.finished, load.running, load.pages_free) == (5, 0, load.pages_total)

    assert streams[ProcessEngine] == streams[ThreadEngine]
    assert multiprocessing.active_children() == []


async def test_commands_reach_the_process(launch, make_request):
    """A refusal, a close and an abort; what is aborted is free for others."""
    async with launch() as engine, asyncio.timeout(DEADLINE_S):
        with pytest.raises(InvalidRequest, match="max_answer_tokens"):
            await collect(engine, make_request(1, max_answer_tokens=0))
        closed = engine.submit(make_request(10, thinking_budget=1500))
        aborted = engine.submit(make_request(11, thinking_budget=1500))
        left = engine.submit(make_request(12, thinking_budget=1500))
        for stream in (closed, aborted, left):
            await anext(stream)
        assert engine.load().pages_free < engine.load().pages_total

        engine.close_thinking("r10")
        engine.abort("r11")
        await left.aclose()
        closed_end = [output async for output in closed][-1].finished
        aborted_end = [output async for output in aborted][-1].finished
        await collect(engine, make_request(1))  # runs after them

        assert closed_end.reason in (FinishReason.STOP, FinishReason.LENGTH)
        assert closed_end.usage.thinking_tokens < 1500
        assert aborted_end.reason is FinishReason.CANCELLED
        assert engine.load().pages_free == engine.load().pages_total


async def test_a_killed_process_fails_every_request(launch, make_request):
    async with launch() as engine, asyncio.timeout(DEADLINE_S):
        streams = [engine.submit(make_request(i, thinking_budget=1500)) for i in (10, 11)]
        for stream in streams:
            await anext(stream)
        [child] = multiprocessing.active_children()

        child.kill()
        for stream in streams:
            with pytest.raises(EngineStopped, match="ended with exit code -9"):
                await collect_rest(stream)

        assert not engine.is_running
        assert isinstance(engine.failure, EngineStopped)
        with pytest.raises(EngineStopped, match="not running"):
            await collect(engine, make_request(1))


async def collect_rest(stream):
    return [output async for output in stream]


async def test_close_ends_the_process_and_what_still_runs(launch, make_request):
    engine = launch()
    engine.start()
    stream = engine.submit(make_request(10, thinking_budget=1500))
    await anext(stream)

    await engine.close()

    with pytest.raises(EngineStopped, match="closed"):
        await collect_rest(stream)
    assert engine.failure is None
    assert multiprocessing.active_children() == []


async def test_an_engine_that_was_never_started_can_be_closed(launch):
    engine = launch()

    await engine.close()

    assert not engine.is_running
    assert multiprocessing.active_children() == []


async def test_a_fault_in_the_loop_is_told(launch, make_request):
    async with launch(preparations.break_steps) as engine, asyncio.timeout(DEADLINE_S):
        with pytest.raises(EngineStopped, match="the engine failed: RuntimeError: device lost"):
            await collect(engine, make_request(0))

        assert not engine.is_running


@pytest.mark.parametrize(
    ("overrides", "error"),
    [({"model_dir": Path("/nowhere")}, CheckpointError), ({"num_pages": 1 << 40}, OutOfMemory)],
)
def test_what_cannot_be_loaded_is_said_as_without_a_process(models, launch, overrides, error):
    config = EngineConfig(**(SETTINGS | {"model_dir": models("qwen3-sliding")[0]} | overrides))

    with pytest.raises(error) as expected:
        LLMEngine(config, special_tokens())
    with pytest.raises(error) as caught:
        launch(**overrides)

    assert str(caught.value) == str(expected.value)


def test_an_error_that_cannot_be_sent_as_it_is_is_told_by_its_text(launch):
    with pytest.raises(RuntimeError, match="Private: no pickle takes this class"):
        launch(preparations.break_loading)


def test_a_process_that_ends_while_it_loads_is_reported(launch):
    with pytest.raises(EngineStopped, match=r"while it loaded, .* exit code 3"):
        launch(preparations.vanish)


_PARENT = """
import multiprocessing, sys
from functools import partial
from pathlib import Path
from tests.workers.engine.preparations import ignore_sigterm
from workers.engine import EngineConfig, LLMEngine, ProcessEngine, SpecialTokens

if __name__ == "__main__":
    config = EngineConfig(model_dir=Path(sys.argv[1]), num_pages=100, max_model_len=100)
    make = partial(LLMEngine, config, SpecialTokens(eos_ids=frozenset({2})))
    engine = ProcessEngine(make, ignore_sigterm)
    print(multiprocessing.active_children()[0].pid, flush=True)
    if sys.argv[2] == "wait":
        sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd_open is Linux's")
@pytest.mark.parametrize("end", ["wait", "return"])
def test_the_process_ends_with_its_parent(models, tmp_path, end):
    """Killed, or at the end of its program without a word to the engine."""
    program = tmp_path / "parent.py"
    program.write_text(_PARENT, encoding="utf-8")
    directory, _ = models("qwen3-sliding")
    paths = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    with subprocess.Popen(
        [sys.executable, program, directory, end],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        try:
            child = os.pidfd_open(int(parent.stdout.readline()))
            if end == "wait":
                parent.send_signal(signal.SIGKILL)
            ended, _, _ = select.select([child], [], [], DEADLINE_S)
            parent.wait(DEADLINE_S)
        finally:
            parent.kill()
    os.close(child)

    assert ended
