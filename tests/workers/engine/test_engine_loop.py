"""The loop on a scripted engine: order of commands, and when the load is told."""

import dataclasses
from itertools import chain, repeat
from queue import SimpleQueue

import pytest

from workers.engine import EngineLoad, EngineOutput, InvalidRequest
from workers.engine.engine_loop import (
    Abort,
    CloseThinking,
    Command,
    Commands,
    EngineLoop,
    Event,
    Progress,
    Refusal,
)

OUTPUT = EngineOutput("r", (7,), (), (), None)
STOP = None


class Script:
    """An engine whose steps give what is listed, one step each; `during` steps, commands come."""

    def __init__(self, *steps: list[EngineOutput], during: dict[int, Command] | None = None):
        self.calls: list[tuple[str, str]] = []
        self.commands: Commands = SimpleQueue()
        self.has_work = True
        self._steps = steps
        self._during = {len(steps): STOP} | (during or {})
        self._num_steps = 0

    def add_request(self, request):
        if request.max_answer_tokens == 0:
            raise InvalidRequest("max_answer_tokens")
        self.calls.append(("add", request.request_id))

    def abort(self, request_id):
        self.calls.append(("abort", request_id))

    def close_thinking(self, request_id):
        self.calls.append(("close_thinking", request_id))

    def step(self):
        self._num_steps += 1
        if self._num_steps in self._during:
            self.commands.put(self._during[self._num_steps])
        return self._steps[self._num_steps - 1]

    def load(self):
        fields = {field.name: 0 for field in dataclasses.fields(EngineLoad)}
        return EngineLoad(**(fields | {"finished": self._num_steps}))


def run(engine, *commands, times=()):
    """The events of a loop until it is stopped; the clock says 0 after `times`."""
    events: list[Event] = []
    for command in commands:
        engine.commands.put(command)
    clock = chain(times, repeat(0.0)).__next__
    EngineLoop(engine, engine.commands, events.append, clock).run()
    return events


def steps_told(events):
    return [event.load.finished for event in events if isinstance(event, Progress)]


def test_commands_are_obeyed_in_their_order(make_request):
    engine = Script([OUTPUT])

    run(engine, make_request(1), CloseThinking("r1"), Abort("r1"))

    assert engine.calls == [("add", "r1"), ("close_thinking", "r1"), ("abort", "r1")]


def test_a_refused_request_is_told_and_the_loop_goes_on(make_request):
    engine = Script([OUTPUT])

    events = run(engine, make_request(1, max_answer_tokens=0), make_request(2))

    refusal, progress = events
    assert isinstance(refusal, Refusal)
    assert refusal.request_id == "r1"
    assert isinstance(refusal.error, InvalidRequest)
    assert progress.outputs == [OUTPUT]
    assert engine.calls == [("add", "r2")]


def test_the_load_comes_with_outputs_and_else_ten_times_a_second():
    engine = Script([], [], [OUTPUT], [], [], [])

    events = run(engine, times=[0.0, 0.05, 0.06, 0.1, 0.17, 0.2])

    assert steps_told(events) == [1, 3, 5]


def test_the_load_is_told_after_a_command():
    engine = Script([], [], [], [], during={2: Abort("r")})

    events = run(engine)

    assert steps_told(events) == [1, 3]


def test_what_a_step_raises_ends_the_loop(monkeypatch):
    engine = Script([])

    def fail():
        raise RuntimeError("device lost")

    monkeypatch.setattr(engine, "step", fail)

    with pytest.raises(RuntimeError, match="device lost"):
        run(engine)
