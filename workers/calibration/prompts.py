"""The prompts that a calibration asks, and what counts as the same answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from workers.training.questions import QuestionSource

SPLIT = "validation"
"""Of the reference model's questions: neither trained on nor reported on."""

_BETWEEN_WORDS = re.compile(r"[\s{}]+")


@dataclass(frozen=True, slots=True)
class CalibrationPrompt:
    """A prompt, and whether an answer to it is right; None when nobody knows what is."""

    text: str
    is_right: Callable[[str], bool] | None = None

    def is_kept(self, trial: str, full: str) -> bool:
        """Whether stopping with `trial` loses nothing that thinking on to `full` would give.

        Where the right answer is not known, the trial has to say what the full answer says: be it,
        or stand in it when the trial is only the gist.
        """
        if self.is_right is not None:
            return self.is_right(trial) or not self.is_right(full)
        return bool(_plain(trial)) and f" {_plain(trial)} " in f" {_plain(full)} "


def read_prompts(path: Path) -> list[CalibrationPrompt]:
    """From JSON lines with `prompt`, and `answer` where it is known. Raises ValueError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    prompts = [_prompt_of(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise ValueError(f"{path}: holds no prompt")
    return prompts


def reference_prompts(seed: int) -> Iterator[CalibrationPrompt]:
    """Questions of every family that the reference model was trained for."""
    source = QuestionSource(Random(seed), SPLIT)
    while True:
        question = source.any_family()
        yield CalibrationPrompt(question.prompt, question.is_right)


def _prompt_of(line: str, place: str) -> CalibrationPrompt:
    try:
        record = json.loads(line)
        prompt, answer = record["prompt"], record.get("answer")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f'{place}: must be an object like {{"prompt": "...", "answer": "..."}}'
        ) from None
    if not isinstance(prompt, str) or not prompt:
        raise ValueError(f"{place}: prompt must be a text")
    if answer is None:
        return CalibrationPrompt(prompt)
    if not isinstance(answer, str) or not _plain(answer):
        raise ValueError(f"{place}: answer must be a text")
    return CalibrationPrompt(prompt, lambda text: f" {_plain(answer)} " in f" {_plain(text)} ")


def _plain(text: str) -> str:
    """Without case, and without what only surrounds words: spaces, stars, brackets, a full stop."""
    words = (word.strip("*_`$.,:;\\()[]{}") for word in _BETWEEN_WORDS.split(text.casefold()))
    return " ".join(word for word in words if word)
