"""Training batches: windows over teacher traces, a pure function of (seed, step).

That makes a resumed run see exactly the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from tokenizers import Tokenizer

from workers.training.drills import arithmetic_drill, hit_drill
from workers.training.teacher import draw_stretch, draw_trace
from workers.training.traces import Example, TraceEncoder

IGNORED = -100
"""Target of a position that carries no loss (torch's `ignore_index` default)."""

BLIND_TOKENS = 32
"""Targets ignored at the start of a row that begins amid the thinking: what they depend on is
out of sight, so their loss would be noise."""

LAST_DRILL_SHARE, FIRST_DRILL_SHARE = 0.05, 0.30
"""Share of arithmetic drill rows from the middle of training on, and at its start."""

HIT_DRILL_SHARE = 0.12
"""Share of hit drill rows."""

STRETCH_SHARE = 0.45
"""Share of the other rows that begin amid the thinking."""


class WindowSampler:
    """Draws batches of token windows and their next-token targets."""

    def __init__(self, tokenizer: Tokenizer, *, rows: int, window: int, seed: int) -> None:
        self._tokenizer = tokenizer
        self._encoder = TraceEncoder(tokenizer)
        self._rows = rows
        self._window = window
        self._seed = seed

    def batch(self, step: int, progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets, both int64 (rows, window).

        `progress` in 0..1 sets the share of drill rows and the mixture of traces.
        """
        rng = Random(f"{self._seed}:{step}")
        rows = [self._shift(self._row(rng, progress)) for _ in range(self._rows)]
        inputs, targets = map(torch.tensor, zip(*rows, strict=True))
        return inputs, targets

    def _row(self, rng: Random, progress: float) -> Example:
        kind = rng.random() - _arithmetic_share(progress)
        if kind < 0:
            return self._filled(lambda: arithmetic_drill(rng, self._tokenizer))
        if kind < HIT_DRILL_SHARE:
            return self._filled(lambda: hit_drill(rng, self._tokenizer))
        row = self._stretch(rng) if rng.random() < STRETCH_SHARE else Example()
        return self._filled(lambda: self._encoder.encode(rng, draw_trace(rng, progress)), row)

    def _stretch(self, rng: Random) -> Example:
        row = self._encoder.encode(rng, draw_stretch(rng))
        row.is_learned[:BLIND_TOKENS] = [False] * min(BLIND_TOKENS, len(row))
        return row

    def _filled(self, draw: Callable[[], Example], row: Example | None = None) -> Example:
        row = row or Example()
        while len(row) <= self._window:
            row.extend(draw())
        return row

    def _shift(self, row: Example) -> tuple[list[int], list[int]]:
        end = self._window + 1
        learned = zip(row.ids[1:end], row.is_learned[1:end], strict=True)
        return row.ids[: end - 1], [token if flag else IGNORED for token, flag in learned]


def _arithmetic_share(progress: float) -> float:
    falling = FIRST_DRILL_SHARE - LAST_DRILL_SHARE
    return LAST_DRILL_SHARE + falling * max(0.0, 1 - 2 * progress)
