"""Training batches: windows over teacher traces, a pure function of (seed, step).

That makes a resumed run see exactly the batches it would have seen.
"""

from __future__ import annotations

from random import Random

import torch
from tokenizers import Tokenizer

from workers.training.traces import arithmetic_drill, encode_trace, random_trace
from workers.training.vocabulary import BOS, END_THINK, THINK

IGNORED = -100
"""Target of a position that carries no loss (torch's `ignore_index` default)."""

BLIND_TOKENS = 32
"""Targets ignored at the start of a window that begins inside a trace: what they depend on is
out of sight, so their loss would be noise."""

LAST_DRILL_SHARE, FIRST_DRILL_SHARE = 0.05, 0.30
"""Share of arithmetic drill rows at the end and at the start of training. It never reaches zero:
in a pilot the facts faded when their stream stopped."""


class WindowSampler:
    """Draws batches of token windows and their next-token targets."""

    def __init__(self, tokenizer: Tokenizer, *, rows: int, window: int, seed: int) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._window = window
        self._seed = seed
        self._bos = tokenizer.token_to_id(BOS)
        self._think = tokenizer.token_to_id(THINK)
        self._end_think = tokenizer.token_to_id(END_THINK)
        self._yes = tokenizer.encode(" yes").ids[0]

    def batch(
        self, step: int, progress: float, *, learn_cuts: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets, both int64 (rows, window).

        `progress` in 0..1 sets the share of drill rows and the mixture of traces. Without
        `learn_cuts` the close of a cut trace carries no loss: the model learns to answer after it,
        and not to close before a hit by itself.
        """
        rng = Random(f"{self._seed}:{step}")
        drill = LAST_DRILL_SHARE + (FIRST_DRILL_SHARE - LAST_DRILL_SHARE) * max(
            0.0, 1 - 2 * progress
        )
        rows = [self._row(rng, drill, progress) for _ in range(self._rows)]
        inputs, targets = map(torch.tensor, zip(*rows, strict=True))
        if not learn_cuts:
            targets[(targets == self._end_think) & (inputs != self._yes)] = IGNORED
        return inputs, targets

    def _row(self, rng: Random, drill_share: float, progress: float) -> tuple[list[int], list[int]]:
        if rng.random() < drill_share:
            return self._shift(self._drill_ids(rng), 0)
        ids = encode_trace(rng, self._tokenizer, random_trace(rng, progress))
        offset = rng.randrange(len(ids)) if rng.random() < 0.5 else 0
        while len(ids) < offset + self._window + 1:
            ids += encode_trace(rng, self._tokenizer, random_trace(rng, progress))
        return self._shift(ids, offset)

    def _drill_ids(self, rng: Random) -> list[int]:
        ids: list[int] = []
        while len(ids) < self._window + 1:
            ids += self._tokenizer.encode(arithmetic_drill(rng)).ids
        return ids

    def _shift(self, ids: list[int], offset: int) -> tuple[list[int], list[int]]:
        end = offset + self._window
        targets = self._mask_prompts(ids)[offset + 1 : end + 1]
        if offset:
            targets[:BLIND_TOKENS] = [IGNORED] * BLIND_TOKENS
        return ids[offset:end], targets

    def _mask_prompts(self, ids: list[int]) -> list[int]:
        """Ignore everything from <bos> to <think>: the model does not learn to write prompts."""
        masked, in_prompt = [], False
        for token in ids:
            in_prompt = in_prompt or token == self._bos
            masked.append(IGNORED if in_prompt else token)
            in_prompt = in_prompt and token != self._think
        return masked
