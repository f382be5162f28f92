"""Reads what the model wrote: attempts, steps and claims in its thinking, and its answers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from reasoning_gym.games.countdown import CountdownConfig, CountdownDataset

from workers.training.countdown import Problem, Step

_STEP = re.compile(r"([-+*/]) (\d+) = (\d+)")
_LINE = re.compile(
    r"(?P<wait> wait)?(?: (?P<header>[\d ]+):)?"
    r" (?P<first>\d+)(?P<steps>(?: [-+*/] \d+ = \d+)+)(?: (?P<verdict>yes|no))?"
)
_EXPRESSION = re.compile(r"[\d +\-*/()]+")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of thinking that could be read."""

    numbers: tuple[int, ...]  # target first, as restated in the header; empty without one
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
    header = tuple(map(int, (match["header"] or "").split()))
    steps = _read_steps(int(match["first"]), match["steps"])
    return Attempt(header, steps, match["verdict"], match["wait"] is not None)


def _read_steps(first: int, text: str) -> tuple[Step, ...]:
    steps, left = [], first
    for op, right, result in _STEP.findall(text):
        steps.append(Step(left, op, int(right), int(result)))
        left = int(result)
    return tuple(steps)


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


def claim_is_true(attempt: Attempt, problem: Problem) -> bool:
    """Whether an attempt really reaches the target with the given numbers, each step right."""
    used = [attempt.steps[0].left, *(step.right for step in attempt.steps)]
    return (
        all(map(step_is_right, attempt.steps))
        and attempt.steps[-1].result == problem.target
        and Counter(used) == Counter(problem.numbers)
    )


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
