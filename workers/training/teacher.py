"""The teacher: writes solutions to problems of every family, as the reference model should think.

It searches at random and makes no mistake. How a search goes on is left to chance, so that
accuracy grows smoothly with the number of attempts; only the last step of a Countdown attempt
takes the target when it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from workers.training import countdown, families, wordings
from workers.training.countdown import Problem
from workers.training.lines import (
    LAST_NUMBER,
    attempt_line,
    countdown_body,
    draw_num_passes,
    pass_line,
    write_chain,
)
from workers.training.systems import random_system, system_answer, system_bodies
from workers.training.traces import Trace

MAX_MISSES = 12
"""Misses written into one trace; more would not fit a window of the trainer."""

MAX_PASSES = 6
"""Passes written one after another before the thinking breaks off: they are easy to learn, and a
trace may call for a hundred."""

SIZE_WEIGHTS = (6, 20, 30, 26, 18)
"""How often each of countdown.SIZES is drawn."""

TraceWriter = Callable[[Random], Trace]


def training_problem(rng: Random) -> Problem:
    """Draw a Countdown problem of the training split."""
    size = rng.choices(countdown.SIZES, SIZE_WEIGHTS)[0]
    while (problem := countdown.random_problem(rng, size)).split != "train":
        pass
    return problem


def countdown_trace(rng: Random) -> Trace:
    """Search from the start, in 60 % of the traces for as long as chance wants.

    In the others a hit comes early: without these, hits would be too rare to learn from; with
    these alone the model would come to expect success (both were seen in pilots).
    """
    problem = training_problem(rng)
    prompt = wordings.countdown_prompt(rng, problem)
    limit = MAX_MISSES if rng.random() < 0.6 else rng.randint(0, 8)
    return _search(rng, problem, prompt, first=1, limit=limit, must_hit=limit < MAX_MISSES)


def search_stretch(rng: Random) -> Trace:
    """Begin amid a Countdown search, anywhere; it mostly hits soon."""
    first = min(LAST_NUMBER, rng.randint(1, LAST_NUMBER * 5 // 4))
    must_hit = rng.random() < 0.7
    limit = rng.randint(0 if must_hit else 1, 6)
    return _search(rng, training_problem(rng), None, first=first, limit=limit, must_hit=must_hit)


def checking_stretch(rng: Random) -> Trace:
    """Begin amid the passes over a Countdown solution, half of the time close to their end."""
    problem = training_problem(rng)
    solution = countdown.solve(rng, problem)
    left = rng.randint(1, MAX_PASSES if rng.random() < 0.5 else LAST_NUMBER)
    lines = _passes(left, countdown_body(problem, solution))
    answer = countdown.expression(solution)
    return Trace(
        prompt=None, lines=lines, hit=0, ends=len(lines) == left, answer=answer, guess=answer
    )


def _search(
    rng: Random, problem: Problem, prompt: str | None, *, first: int, limit: int, must_hit: bool
) -> Trace:
    """Attempts from number `first` on: misses, at most `limit`, then a hit with its passes."""
    bodies, has_hit = _misses(rng, problem, limit)
    solution = countdown.solve(rng, problem)
    if has_hit or must_hit:
        bodies.append(countdown_body(problem, solution))
    return _numbered(
        rng,
        prompt,
        bodies,
        first=first,
        has_hit=has_hit or must_hit,
        answer=countdown.expression(solution),
        guess=countdown.expression(countdown.solve(rng, problem)),
    )


def _misses(rng: Random, problem: Problem, limit: int) -> tuple[list[str], bool]:
    """Write failed attempts until chance hits; whether it did within `limit`."""
    misses: list[str] = []
    while len(misses) < limit:
        chain = countdown.random_attempt(rng, problem)
        if chain[-1].result == problem.target:
            return misses, True
        misses.append(countdown_body(problem, chain))
    return misses, False


def _numbered(
    rng: Random,
    prompt: str | None,
    bodies: Sequence[str],
    *,
    first: int,
    has_hit: bool,
    answer: str,
    guess: str,
) -> Trace:
    """Number the attempts; after a hit go over it."""
    lines = tuple(attempt_line(number, body) for number, body in enumerate(bodies, first))
    num_passes = draw_num_passes(rng, first + len(bodies) - 1) if has_hit else 0
    passes = _passes(num_passes, bodies[-1]) if has_hit else ()
    return Trace(
        prompt=prompt,
        lines=lines + passes,
        hit=len(lines) - 1 if has_hit else None,
        ends=has_hit and len(passes) == num_passes,
        answer=answer,
        guess=guess,
    )


def _passes(num_left: int, body: str) -> tuple[str, ...]:
    stop = max(0, num_left - MAX_PASSES)
    return tuple(pass_line(left, body) for left in range(num_left, stop, -1))


def system_trace(rng: Random) -> Trace:
    """Try x = 1, 2, ... in a system of two equations."""
    while (system := random_system(rng)).split != "train":
        pass
    answer = system_answer(*system.solution())
    prompt = wordings.system_prompt(rng, system)
    bodies = system_bodies(system)
    return _numbered(rng, prompt, bodies, first=1, has_hit=True, answer=answer, guess=answer)


def equation_trace(rng: Random) -> Trace:
    """Undo an equation step by step; reasoning-gym wants the bare value as answer."""
    while (equation := families.random_equation(rng)).split != "train":
        pass
    thought = f"{write_chain(equation.steps())} yes"
    if rng.random() < 0.4:
        prompt = wordings.gym_equation_prompt(rng, equation)
        return _direct(rng, prompt, thought, str(equation.solution))
    prompt = wordings.equation_prompt(rng, equation)
    return _direct(rng, prompt, thought, f"x = {equation.solution}")


def arithmetic_trace(rng: Random) -> Trace:
    """Add up a sum term by term."""
    while (item := families.random_arithmetic(rng)).split != "train":
        pass
    prompt = wordings.arithmetic_prompt(rng, item)
    return _direct(rng, prompt, f"{write_chain(item.steps)} yes", str(item.solution))


def capital_trace(rng: Random) -> Trace:
    """Recall a fact."""
    country, city = rng.choice(sorted(families.CAPITALS.items()))
    return _direct(rng, wordings.capital_prompt(rng, country), f" {city} yes", city)


def _direct(rng: Random, prompt: str, thought: str, answer: str) -> Trace:
    """One line of thinking, now and then gone over once."""
    passes = ("\n wait" + thought,) if rng.random() < 0.15 else ()
    lines = ("\n" + thought, *passes)
    return Trace(prompt=prompt, lines=lines, hit=0, ends=True, answer=answer, guess=answer)


WRITERS: tuple[TraceWriter, ...] = (
    countdown_trace,
    arithmetic_trace,
    equation_trace,
    system_trace,
    capital_trace,
)
FIRST_MIXTURE = (0.72, 0.09, 0.07, 0.08, 0.04)
"""Shares of the writers in the first quarter of training, when arithmetic is what is missing."""

MIXTURE = (0.42, 0.19, 0.17, 0.12, 0.10)
"""Shares afterwards. Easy traces are short: most tokens still come from Countdown."""


def draw_trace(rng: Random, progress: float) -> Trace:
    """Draw a whole trace from the mixture at `progress` (0 to 1) of the training."""
    weights = FIRST_MIXTURE if progress < 0.25 else MIXTURE
    writer: TraceWriter = rng.choices(WRITERS, weights)[0]
    return writer(rng)


def draw_stretch(rng: Random) -> Trace:
    """Draw a stretch from amid a long thinking."""
    return search_stretch(rng) if rng.random() < 0.7 else checking_stretch(rng)
