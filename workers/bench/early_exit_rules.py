"""What early exit is measured against: the rules that others published, in the same engine.

Each has a few settings; the bench takes the one that does best on the validation split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

from workers.early_exit import EarlyExit, ExitRules
from workers.early_exit.cadence import Cadence
from workers.early_exit.controller import JudgeFactory
from workers.early_exit.judge import Agreement
from workers.early_exit.rules import FILE_NAME
from workers.early_exit.trial import TrialOutcome
from workers.engine import Controller
from workers.tokenizer import Tokenizer

LINES: Final = ExitRules(separators=("\n",))
"""What is used for a model without rules of its own: the reference model thinks in lines."""

_AGREEING: Final = (2, 3, 5)
# DEER exits once the geometric mean is above 0.95 (github.com/iie-ycx/DEER).
_DEER_CONFIDENCES: Final = (0.9, 0.95, 0.99)
# Dynasor tries an answer every 64 tokens (github.com/hao-ai-lab/Dynasor, effort "mid").
_DYNASOR_GAP_TOKENS: Final = 64
# EAT uses alpha 0.1, delta 2**-10 and a warm-up of 4 / alpha trials (github.com/xidulu/EAT). The
# smaller alphas wait longer: where answers begin alike, as in "((", their first token is sure
# from the start, and the warm-up alone decides.
_EAT_ALPHAS: Final = (0.02, 0.05, 0.1)
_EAT_DELTAS: Final = (2**-10, 2**-20)
_EAT_WARM_UP: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to set a control; `label` says which."""

    label: str
    controller: Controller


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A published rule with the settings to choose from."""

    name: str
    settings: tuple[Setting, ...]


class EntropyVariance:
    """EAT: enough is an entropy of the first token that has not moved for a while.

    The exponentially moving variance starts at 0, so it means nothing before the warm-up.
    """

    def __init__(self, alpha: float, delta: float) -> None:
        self._alpha = alpha
        self._delta = delta
        self._num_trials = 0
        self._mean = 0.0
        self._variance = 0.0

    def is_enough(self, outcome: TrialOutcome) -> bool:
        """Whether the variance is below delta, this trial included."""
        self._num_trials += 1
        weight = self._alpha if self._num_trials > 1 else 1.0
        self._mean += weight * (outcome.entropy - self._mean)
        distance = (outcome.entropy - self._mean) ** 2
        self._variance += self._alpha * (distance - self._variance)
        is_warm = self._num_trials > _EAT_WARM_UP / self._alpha
        return is_warm and self._variance < self._delta


class FixedGap(Cadence):
    """A trial every so many tokens, whatever the last one said."""

    def __init__(self, rules: ExitRules) -> None:
        self._gap_tokens = self._next_tokens = rules.min_gap_tokens

    def is_due(self, thinking_tokens: int) -> bool:
        return thinking_tokens >= self._next_tokens

    def record(self, outcome: TrialOutcome) -> None:
        self._next_tokens = outcome.thinking_tokens + self._gap_tokens


def model_rules(model_dir: Path) -> tuple[ExitRules, str]:
    """The rules to measure, and where they come from."""
    rules = ExitRules.load(model_dir)
    return (LINES, f"defaults, no {FILE_NAME}") if rules is None else (rules, FILE_NAME)


def published_controls(rules: ExitRules, tokenizer: Tokenizer) -> tuple[Control, ...]:
    """The controls, on the steps and trials of the rules that they are compared with."""
    every_step = replace(
        rules,
        min_thinking_tokens=0,
        min_gap_tokens=1,
        max_gap_tokens=1,
        backoff=1.0,
        confidence=0.0,
        max_entropy=math.inf,
        repetition_window=1_000_000,  # off: longer than any thinking
        give_up_confidence=None,
    )
    return (
        Control(name="answer convergence", settings=tuple(_convergence(every_step, tokenizer))),
        Control(name="entropy", settings=tuple(_entropy(every_step, tokenizer))),
        Control(name="deer", settings=tuple(_deer(every_step, tokenizer))),
        Control(name="dynasor", settings=tuple(_dynasor(every_step, tokenizer))),
    )


def _convergence(every_step: ExitRules, tokenizer: Tokenizer) -> Iterator[Setting]:
    for count in _AGREEING:
        rules = replace(every_step, agreement=count)
        yield Setting(label=f"k={count}", controller=EarlyExit.of(rules, tokenizer))


def _entropy(every_step: ExitRules, tokenizer: Tokenizer) -> Iterator[Setting]:
    rules = replace(every_step, max_trial_tokens=1)
    for alpha, delta in product(_EAT_ALPHAS, _EAT_DELTAS):
        controller = _answering_anew(rules, tokenizer, _entropy_judge(alpha, delta))
        label = f"alpha={alpha}, delta=2^{math.log2(delta):.0f}"
        yield Setting(label=label, controller=controller)


def _entropy_judge(alpha: float, delta: float) -> JudgeFactory:
    return lambda _: EntropyVariance(alpha, delta)


def _deer(every_step: ExitRules, tokenizer: Tokenizer) -> Iterator[Setting]:
    for confidence in _DEER_CONFIDENCES:
        rules = replace(every_step, agreement=1, confidence=confidence)
        controller = _answering_anew(rules, tokenizer, Agreement)
        yield Setting(label=f"confidence>{confidence}", controller=controller)


def _answering_anew(rules: ExitRules, tokenizer: Tokenizer, make_judge: JudgeFactory) -> Controller:
    return EarlyExit(
        rules,
        step_end_ids=tokenizer.step_end_ids(rules.separators),
        trial_ids=tokenizer.encode_text(rules.trial_text),
        make_judge=make_judge,
        keeps_trial=False,
    )


def _dynasor(every_step: ExitRules, tokenizer: Tokenizer) -> Iterator[Setting]:
    for count in _AGREEING:
        rules = replace(
            every_step,
            agreement=count,
            min_gap_tokens=_DYNASOR_GAP_TOKENS,
            max_gap_tokens=_DYNASOR_GAP_TOKENS,
        )
        controller = EarlyExit(
            rules,
            step_end_ids=tokenizer.step_end_ids(("",)),  # every token
            trial_ids=tokenizer.encode_text(rules.trial_text),
            make_cadence=FixedGap,
        )
        yield Setting(label=f"k={count}", controller=controller)
