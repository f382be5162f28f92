"""Teacher traces: what the reference model is trained to write.

    <bos> prompt <think> attempt* hit verification* </think> answer <eos>

An attempt restates target and numbers, so that thinking is readable from any point on and a model
trained on short windows can think for ten thousand tokens:

    \\n 24 3 5 6 8: 3 * 5 = 15 - 6 = 9 + 8 = 17 no

A share of the traces is cut at a random token and closed with a true answer: that is what teaches
the model to answer whenever its budget ends, with a confidence that means something
(Qi et al. 2025, AnytimeReasoner, do the same by reinforcement learning).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from workers.training import countdown, families, wordings
from workers.training.countdown import Chain, Problem
from workers.training.vocabulary import BOS, END_THINK, EOS, THINK

CUT_SHARE = 0.4
"""Share of traces cut at a random thinking token; one in ten of these has no thinking at all."""

LONGEST_SEARCH = 40
"""Misses written into one trace at most; windows of the trainer are shorter than that anyway."""

MAX_VERIFICATIONS = 3
"""Passes over the solution after it was found: real models overthink, so this one does."""

SIZE_WEIGHTS = (6, 20, 30, 26, 18)
"""How often each of countdown.SIZES is drawn."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One training example before tokenisation; `cut_answers` answers when no hit was seen yet."""

    prompt: str
    misses: tuple[str, ...]
    hit: str
    verifications: int
    answer: str
    cut_answer: str


def write_chain(chain: Chain) -> str:
    """Write a chain as running steps: ` 3 * 5 = 15 - 6 = 9`."""
    text = f" {chain[0].left}"
    return text + "".join(f" {s.op} {s.right} = {s.result}" for s in chain)


def countdown_trace(rng: Random) -> Trace:
    """Search at random until a chain reaches the target."""
    size = rng.choices(countdown.SIZES, SIZE_WEIGHTS)[0]
    problem = _training_problem(rng, size)
    solution = countdown.solve(rng, problem)
    hit = attempt_text(problem, solution, "yes")
    return Trace(
        prompt=wordings.countdown_prompt(rng, problem),
        misses=_misses(rng, problem),
        hit=hit,
        verifications=_verifications(rng),
        answer=countdown.expression(solution),
        cut_answer=countdown.expression(countdown.solve(rng, problem)),
    )


def attempt_text(problem: Problem, chain: Chain, verdict: str) -> str:
    """Write one attempt with its header and verdict."""
    numbers = " ".join(map(str, problem.numbers))
    return f"\n {problem.target} {numbers}:{write_chain(chain)} {verdict}"


def _training_problem(rng: Random, size: int) -> Problem:
    while (problem := countdown.random_problem(rng, size)).split != "train":
        pass
    return problem


def _misses(rng: Random, problem: Problem) -> tuple[str, ...]:
    """Write the failed attempts: as many as chance gives in 60 % of traces, few in the others.

    Without the short ones hits would be too rare to learn from; with only short ones the model
    would come to expect success and to claim it (both were seen in pilots).
    """
    limit = LONGEST_SEARCH if rng.random() < 0.6 else rng.randint(0, 8)
    misses: list[str] = []
    while len(misses) < limit:
        chain = countdown.random_attempt(rng, problem)
        if chain[-1].result == problem.target:
            break
        misses.append(attempt_text(problem, chain, "no"))
    return tuple(misses)


def _verifications(rng: Random) -> int:
    return min(MAX_VERIFICATIONS, int(rng.expovariate(0.8)))


def equation_trace(rng: Random) -> Trace:
    """Undo an equation step by step."""
    while (equation := families.random_equation(rng)).split != "train":
        pass
    answer = f"x = {equation.solution}"
    prompt = wordings.equation_prompt(rng, equation)
    return _direct(rng, prompt, f"\n{write_chain(equation.steps())} yes", answer)


def arithmetic_trace(rng: Random) -> Trace:
    """Add up a sum term by term."""
    while (item := families.random_arithmetic(rng)).split != "train":
        pass
    prompt = wordings.arithmetic_prompt(rng, item)
    return _direct(rng, prompt, f"\n{write_chain(item.steps)} yes", str(item.solution))


def capital_trace(rng: Random) -> Trace:
    """Recall a fact."""
    country, city = rng.choice(sorted(families.CAPITALS.items()))
    return _direct(rng, wordings.capital_prompt(rng, country), f"\n {city} yes", city)


def _direct(rng: Random, prompt: str, thought: str, answer: str) -> Trace:
    verifications = int(rng.random() < 0.15)
    return Trace(prompt, (), thought, verifications, answer, answer)


def arithmetic_drill(rng: Random) -> str:
    """Write bare steps that cover the table of legal operations evenly, without any problem."""
    lines = []
    for _ in range(40):
        left, right = rng.randint(1, countdown.MAX_VALUE), rng.randint(1, countdown.MAX_INPUT)
        step = rng.choice(countdown.legal_steps(left, right))
        lines.append(f"\n{write_chain((step,))}")
    return "".join(lines)


TraceWriter = Callable[[Random], Trace]

WRITERS: tuple[TraceWriter, ...] = (
    countdown_trace,
    arithmetic_trace,
    equation_trace,
    capital_trace,
)
FIRST_MIXTURE = (0.80, 0.09, 0.07, 0.04)
"""Shares of the writers in the first quarter of training, when arithmetic is what is missing."""

MIXTURE = (0.45, 0.24, 0.19, 0.12)
"""Shares afterwards. Easy traces are short: nine tokens in ten still come from Countdown."""


def random_trace(rng: Random, progress: float) -> Trace:
    """Draw a trace from the mixture at `progress` (0 to 1) of the training."""
    weights = FIRST_MIXTURE if progress < 0.25 else MIXTURE
    writer: TraceWriter = rng.choices(WRITERS, weights)[0]
    return writer(rng)


def encode_trace(rng: Random, tokenizer: Tokenizer, trace: Trace) -> list[int]:
    """Tokenise a trace, cutting a share of them at a random thinking token."""
    prompt = f"{BOS}{trace.prompt}{THINK}"
    wait = trace.hit.replace("\n", "\n wait", 1)
    before_hit = "".join(trace.misses) + trace.hit
    thinking = before_hit + wait * trace.verifications
    if rng.random() >= CUT_SHARE:
        text = f"{prompt}{thinking}{END_THINK}{trace.answer}{EOS}"
        return list(tokenizer.encode(text).ids)
    thinking_ids = tokenizer.encode(thinking).ids
    cut = 0 if rng.random() < 0.1 else rng.randrange(len(thinking_ids))
    found = cut >= len(tokenizer.encode(before_hit).ids) - 1
    answer = tokenizer.encode(f"{END_THINK}{trace.answer if found else trace.cut_answer}{EOS}").ids
    return [*tokenizer.encode(prompt).ids, *thinking_ids[:cut], *answer]
