"""No problem that the model was trained on is one that it is measured on, in any family."""

import re
from random import Random

import pytest

from workers.training import teacher
from workers.training.countdown import SIZES, SPLITS, Problem, split_of
from workers.training.families import Equation
from workers.training.questions import QuestionSource
from workers.training.reading import read_attempt
from workers.training.systems import System
from workers.training.traces import Trace

NUM_DRAWS = 150
SUM = re.compile(r"\d+(?: [-+] \d+)+")
EQUATION = re.compile(r"(\d*)\*?[a-z](?: ([-+]) (\d+))? = (\d+)")
SYSTEM = re.compile(r"x \+ (\d+)y = (\d+) and (\d+)x ([-+]) y = (\d+)")
WRITERS = {
    "countdown": teacher.countdown_trace,
    "arithmetic": teacher.arithmetic_trace,
    "equation": teacher.equation_trace,
    "system": teacher.system_trace,
}


def key_of(family: str, prompt: str, first_line: str = "") -> str:
    """The key of the problem in a prompt, or in a line that restates it."""
    if family == "arithmetic":
        return f"arithmetic:{SUM.findall(prompt)[-1]}"
    if family == "equation":
        factor, op, offset, total = EQUATION.findall(prompt)[-1]
        signed = int(f"{op}{offset}" or 0)
        return Equation(int(factor or 1), signed, int(total)).key
    if family == "system":
        y_factor, first, x_factor, op, second = SYSTEM.findall(prompt)[-1]
        return System(int(y_factor), int(first), int(x_factor), op, int(second)).key
    attempt = read_attempt(first_line.removeprefix("\n"))
    assert attempt is not None
    target, *numbers = attempt.numbers
    return Problem(tuple(numbers), target).key


@pytest.fixture(scope="module")
def trained() -> dict[str, set[str]]:
    rng = Random(31)
    return {
        family: {written_key(family, write(rng)) for _ in range(NUM_DRAWS)}
        for family, write in WRITERS.items()
    }


def written_key(family: str, trace: Trace) -> str:
    assert trace.prompt is not None
    return key_of(family, trace.prompt, trace.lines[0])


def asked(family: str, split: str) -> set[str]:
    source = QuestionSource(Random(32), split)
    if family == "countdown":
        draws = (source.countdown(size) for size in SIZES for _ in range(NUM_DRAWS // 5))
        problems = [question.problem for question in draws]
        return {problem.key for problem in problems if problem is not None}
    draw = source.system if family == "system" else lambda: source.easy(family)
    return {key_of(family, draw().prompt) for _ in range(NUM_DRAWS)}


@pytest.mark.parametrize("family", WRITERS)
def test_what_is_trained_on_is_of_the_training_split(trained, family):
    assert trained[family]
    assert {split_of(key) for key in trained[family]} == {"train"}


@pytest.mark.parametrize("split", SPLITS[1:])
@pytest.mark.parametrize("family", WRITERS)
def test_what_is_asked_is_of_the_split_asked_for(trained, family, split):
    keys = asked(family, split)

    assert {split_of(key) for key in keys} == {split}
    assert not keys & trained[family]
