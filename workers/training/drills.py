"""Drills: rows of bare skill without a problem around it. They never stop: in a pilot the facts
faded when their stream did."""

from __future__ import annotations

from random import Random

from tokenizers import Tokenizer

from workers.training import countdown
from workers.training.lines import LAST_NUMBER, attempt_line, countdown_body, write_chain
from workers.training.teacher import training_problem
from workers.training.traces import Example


def arithmetic_drill(rng: Random, tokenizer: Tokenizer) -> Example:
    """Write bare steps that cover the table of legal operations evenly."""
    lines = []
    for _ in range(40):
        left, right = rng.randint(1, countdown.MAX_VALUE), rng.randint(1, countdown.MAX_INPUT)
        step = rng.choice(countdown.legal_steps(left, right))
        lines.append(f"\n{write_chain((step,))}")
    example = Example()
    example.add(list(tokenizer.encode("".join(lines)).ids), is_learned=True)
    return example


def hit_drill(rng: Random, tokenizer: Tokenizer) -> Example:
    """Write hits of Countdown problems, one after another.

    To see which operation reaches the target is the hardest step of a search, and hits are too
    rare in searches to learn it from them alone. The restated problems are not learned: nothing
    foretells them.
    """
    example = Example()
    for _ in range(10):
        problem = training_problem(rng)
        body = countdown_body(problem, countdown.solve(rng, problem))
        head, chain = attempt_line(rng.randint(1, LAST_NUMBER), body).split(":")
        example.add(list(tokenizer.encode(head).ids), is_learned=False)
        example.add(list(tokenizer.encode(f":{chain}").ids), is_learned=True)
    return example
