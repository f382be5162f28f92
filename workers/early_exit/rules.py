"""The numbers that say when thinking stops early: defaults, checks, and the file beside a model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from workers.errors import EarlyExitFileError

FILE_NAME = "early_exit.json"
_PARAGRAPH = ("\n\n",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRules:
    """When to try an answer, and when to keep it. `ponder calibrate` measures them for a model.

    A trial is a fork of the request that is fed `</think>` and `trial_text` and answers, up to
    `max_trial_tokens`. It may start where a step of the thinking ends, in a token whose text holds
    one of `separators`, `min_gap_tokens` after the trial before; each unsure one widens the gap by
    `backoff`, up to `max_gap_tokens`. It ends at once when the entropy of its first token, in
    nats, is above `max_entropy`.

    Thinking stops after `agreement` trials in a row with equal answers, each of a geometric mean
    token probability above `confidence`. Without a `trial_text` the last of them becomes the
    request; with one the request closes its thinking and answers anew, because the trial says less
    than an answer does.

    Thinking repeats itself when the bigrams of its last `repetition_window` tokens have a cosine
    above `repetition` with those of the window before. That starts a trial too, and the thinking is
    closed after `loop_trials` unsure ones between which it never broke off.

    `give_up_confidence`, off when None: thinking is closed when after `give_up_share` of the
    budget no trial was surer than that.
    """

    separators: tuple[str, ...] = _PARAGRAPH
    confidence: float = 0.95
    agreement: int = 2
    max_entropy: float = 0.5
    min_thinking_tokens: int = 32
    min_gap_tokens: int = 32
    max_gap_tokens: int = 256
    backoff: float = 1.5
    max_trial_tokens: int = 24
    trial_text: str = ""
    repetition: float = 0.9
    repetition_window: int = 50
    loop_trials: int = 3
    give_up_confidence: float | None = None
    give_up_share: float = 0.5

    def __post_init__(self) -> None:
        problems = [*self._size_problems(), *self._range_problems()]
        if problems:
            raise ValueError("early exit: " + "; ".join(problems))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ExitRules:
        """From JSON. Raises ValueError naming what is unknown, of the wrong type or range."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"early exit: {', '.join(unknown)} is no rule: {', '.join(known)} are")
        separators = values.get("separators", _PARAGRAPH)
        if isinstance(separators, str) or not all(isinstance(text, str) for text in separators):
            raise ValueError("early exit: separators must be a list of texts")
        try:
            return cls(**{**values, "separators": tuple(separators)})
        except TypeError as error:
            raise ValueError(f"early exit: {error}") from error

    @classmethod
    def load(cls, model_dir: Path) -> ExitRules | None:
        """The rules beside a checkpoint, None when there are none.

        Raises:
            EarlyExitFileError: the file is there and cannot be used.
        """
        path = model_dir / FILE_NAME
        if not path.exists():
            return None
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8"))["rules"])
        except (KeyError, TypeError, ValueError) as error:
            raise EarlyExitFileError(f"{path}: {error}; calibrate again or remove it") from error

    def gives_up(self, best_confidence: float, thinking_tokens: int, budget_tokens: int) -> bool:
        """Whether no trial was sure enough for so long that the thinking is closed."""
        least = self.give_up_confidence
        if least is None or best_confidence >= least:
            return False
        return thinking_tokens >= self.give_up_share * budget_tokens

    def to_json(self) -> dict[str, Any]:
        """What `of` reads."""
        return asdict(self)

    def _size_problems(self) -> Iterator[str]:
        names = ("agreement", "max_trial_tokens", "repetition_window", "loop_trials")
        for name in (*names, "min_gap_tokens", "max_gap_tokens"):
            if not _is_integer(value := getattr(self, name)) or value < 1:
                yield f"{name} must be an integer of at least 1"
        if not _is_integer(self.min_thinking_tokens) or self.min_thinking_tokens < 0:
            yield "min_thinking_tokens must be an integer of at least 0"
        if "" in self.separators:
            yield "separators must not be empty texts"

    def _range_problems(self) -> Iterator[str]:
        for name in ("confidence", "repetition", "give_up_share"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name} must be in [0, 1]"
        if self.give_up_confidence is not None and not 0 <= self.give_up_confidence <= 1:
            yield "give_up_confidence must be in [0, 1]"
        if not self.max_entropy >= 0:  # also refuses NaN
            yield "max_entropy must not be negative"
        if not 1 <= self.backoff < math.inf:
            yield "backoff must be at least 1"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
