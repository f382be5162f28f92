"""What the evaluation keeps of each problem. Figures (figures.py) are computed from these alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.training.shares import NO_TRIALS, Share

POSITION_EDGES = (0, 500, 2000, 5000)
"""First thinking token of each position bucket; the last one is open."""

NO_STEPS = (NO_TRIALS,) * len(POSITION_EDGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingRecord:
    """One thinking, read line by line.

    `steps` holds the right steps by position bucket, passes over a hit left out, `claims` the true
    ones among the lines that claim a hit (passes left out too), `lines` the readable ones among
    those that are complete. `useful_tokens` end with the first line that truly hits; None without
    one.
    """

    tokens: int
    is_finished: bool  # closed by the model itself
    steps: tuple[Share, ...] = NO_STEPS
    claims: Share = NO_TRIALS
    lines: Share = NO_TRIALS
    useful_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedAnswer:
    """An answer that was forced by cutting the thinking; `logprob` is summed over its tokens."""

    num_tokens: int
    logprob: float
    is_right: bool
    is_well_formed: bool
    has_marker: bool  # writes <think> or </think>
    is_random_cut: bool  # cut at a random token, not at a budget

    @property
    def confidence(self) -> float:
        """Geometric mean probability of its tokens, 0 to 1."""
        return math.exp(self.logprob / self.num_tokens) if self.num_tokens else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRecord:
    """One problem: right or not by thinking budget, and for Countdown everything else."""

    thinking: ThinkingRecord
    is_right: Mapping[int, bool]
    oracle: Mapping[int, float] = field(default_factory=dict)  # share of searches that hit
    forced: tuple[ForcedAnswer, ...] = ()
