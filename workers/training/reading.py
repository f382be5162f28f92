"""Reads what the model wrote: attempts, steps and claims in its thinking, and its answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from reasoning_gym.games.countdown import CountdownConfig, CountdownDataset

from workers.training.countdown import Problem, Step
from workers.training.systems import System

_STEP = re.compile(r"([-+*/]) (\d+) = (\d+)")
_CHAIN = r" \d+(?: [-+*/] \d+ = \d+)+"
_LINE = re.compile(
    r"(?P<number>\d+)?(?P<wait> wait)?(?: (?P<header>[\d +-]+):)?"
    rf"(?P<chains>{_CHAIN}(?:,{_CHAIN})*)(?: (?P<verdict>yes|no))?"
)
_EXPRESSION = re.compile(r"[\d +\-*/()]+")
_SYSTEM_ANSWER = re.compile(r"x = (\d+), y = (\d+)")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of thinking that could be read."""

    numbers: tuple[int, ...]  # the restated problem, target first; empty without one
    steps: tuple[Step, ...]
    verdict: str | None  # "yes", "no", or None when the line was cut
    is_verification: bool  # a pass over an earlier hit


def read_attempts(thinking: str) -> list[Attempt]:
    """Parse every line of thinking; lines that do not parse are left out."""
    attempts = map(read_attempt, thinking.split("\n")[1:])
    return [attempt for attempt in attempts if attempt is not None]


def read_attempt(line: str) -> Attempt | None:
    """Parse one line of thinking, without its newline."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    header = tuple(map(int, re.findall(r"\d+", match["header"] or "")))
    steps = [step for chain in match["chains"].split(",") for step in _read_steps(chain)]
    return Attempt(header, tuple(steps), match["verdict"], match["wait"] is not None)


def _read_steps(chain: str) -> Iterator[Step]:
    left = int(chain.split()[0])
    for op, right, result in _STEP.findall(chain):
        yield Step(left, op, int(right), int(result))
        left = int(result)


def step_is_right(step: Step) -> bool:
    """Whether one written operation is true."""
    if step.op == "/":
        return step.right != 0 and step.left == step.right * step.result
    value = {
        "+": step.left + step.right,
        "-": step.left - step.right,
        "*": step.left * step.right,
    }[step.op]
    return value == step.result


def claim_is_true(attempt: Attempt, problem: Problem | System) -> bool:
    """Whether an attempt really solves the problem, each step right."""
    if not all(map(step_is_right, attempt.steps)):
        return False
    if isinstance(problem, System):
        return _solves_system(attempt, problem)
    used = [attempt.steps[0].left, *(step.right for step in attempt.steps)]
    return attempt.steps[-1].result == problem.target and Counter(used) == Counter(problem.numbers)


def _solves_system(attempt: Attempt, system: System) -> bool:
    """A whole trial begins with total - x, then / factor = y."""
    if len(attempt.steps) < 4:
        return False
    difference, quotient = attempt.steps[:2]
    return system.holds(difference.right, quotient.result)


@cache
def _scorer() -> CountdownDataset:
    return CountdownDataset(CountdownConfig(size=1, seed=0))


def countdown_is_right(answer: str, problem: Problem) -> bool:
    """Score with reasoning-gym's own scorer; only its full reward counts."""
    entry: dict[str, Any] = {
        "metadata": {"numbers": list(problem.numbers), "target": problem.target}
    }
    return bool(_scorer().score_answer(answer, entry) == 1.0)


def countdown_is_well_formed(answer: str, problem: Problem) -> bool:
    """Whether the answer is one arithmetic expression that uses each given number exactly once."""
    if not _EXPRESSION.fullmatch(answer):
        return False
    used = Counter(map(int, re.findall(r"\d+", answer)))
    return used == Counter(problem.numbers) and _is_arithmetic(answer)


def _is_arithmetic(text: str) -> bool:
    try:
        compile(text, "answer", "eval")
    except SyntaxError:
        return False
    return True


def system_is_right(answer: str, system: System) -> bool:
    """Check an answer by putting it into both equations."""
    match = _SYSTEM_ANSWER.fullmatch(answer.strip())
    return match is not None and system.holds(int(match[1]), int(match[2]))


def system_is_well_formed(answer: str) -> bool:
    """Whether the answer names one value for x and one for y."""
    return _SYSTEM_ANSWER.fullmatch(answer.strip()) is not None
