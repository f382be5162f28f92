"""Lines of thinking as the teacher writes them: attempts, numbered, and passes over a solution.

    \\n17 24 3 5 6 8: 3 * 5 = 15 - 6 = 9 + 8 = 17 no
    \\n9 wait 24 3 5 6 8: 3 * 5 = 15 - 6 = 9 * 8 = 72 / 3 = 24 yes

An attempt carries its number and restates its problem; a pass says how many are left, itself
included. So each line follows from the one before it, and a model trained on short windows can
think for ten thousand tokens.
"""

from __future__ import annotations

from random import Random

from workers.training.countdown import MAX_VALUE, Chain, Problem

LAST_NUMBER = MAX_VALUE
"""Attempts are numbered up to this, and then keep it: a number is one token."""

PASSES_PER_ATTEMPT = (0.4, 1.2)
"""How many passes over a solution follow it, per attempt that it took: drawn between these. Chosen
by simulation so that about 40 % of the thinking comes after the solution, as large reasoning
models were found to do."""


def write_chain(chain: Chain) -> str:
    """Write a chain as running steps: ` 3 * 5 = 15 - 6 = 9`."""
    text = f" {chain[0].left}"
    return text + "".join(f" {s.op} {s.right} = {s.result}" for s in chain)


def countdown_body(problem: Problem, chain: Chain) -> str:
    """Write one Countdown attempt after its number: the problem, the chain, the verdict."""
    numbers = " ".join(map(str, problem.numbers))
    verdict = "yes" if chain[-1].result == problem.target else "no"
    return f" {problem.target} {numbers}:{write_chain(chain)} {verdict}"


def attempt_line(number: int, body: str) -> str:
    """Write the attempt with this number, counted from 1."""
    return f"\n{min(number, LAST_NUMBER)}{body}"


def pass_line(num_left: int, body: str) -> str:
    """Write a pass over a solution, with `num_left` passes to go, this one included."""
    return f"\n{num_left} wait{body}"


def draw_num_passes(rng: Random, num_attempts: int) -> int:
    """Draw how often a solution found by the last of `num_attempts` is gone over, 0 to 99."""
    ratio = rng.uniform(*PASSES_PER_ATTEMPT)
    return min(LAST_NUMBER, round(ratio * min(num_attempts, LAST_NUMBER)))
