"""What traces add up to, by tier and by what stopped the thinking. Numbers only, one pass."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from classifier.kaplan_meier import KaplanMeier
from classifier.survival import quantile_tokens
from ponder.bins import NUM_NEED_BINS, horizon_tokens, stopped_by_itself
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop, Tier

_P90: Final = 0.9

Key = tuple[Tier.ValueType | None, ThinkingStop.ValueType | None]


@dataclass(slots=True)
class Group:
    """The traces of one row. Shares are of requests, or of tokens where that is said."""

    num_budget_hits: int = 0
    num_escalated: int = 0
    forced_tokens: int = 0
    probe_tokens: int = 0
    answer_tokens: int = 0
    thinking: array[int] = field(default_factory=lambda: array("q"))
    _ratios: array[float] = field(default_factory=lambda: array("d"))
    _is_need: array[int] = field(default_factory=lambda: array("b"))

    def __len__(self) -> int:
        return len(self.thinking)

    def add(self, trace: Settlement) -> None:
        usage = trace.usage
        self.thinking.append(usage.thinking_tokens)
        self.num_budget_hits += trace.stop == budget_pb2.THINKING_STOP_EXHAUSTED
        self.num_escalated += usage.escalations > 0
        self.forced_tokens += usage.forced_tokens
        self.probe_tokens += usage.probe_tokens
        self.answer_tokens += usage.answer_tokens
        if p90_tokens := predicted_p90(trace):
            known = usage.thinking_tokens, trace.budget_tokens, trace.stop
            self._ratios.append(horizon_or_need(*known) / p90_tokens)
            self._is_need.append(stopped_by_itself(trace.stop))

    def as_dict(self, num_all: int) -> dict[str, Any]:
        """For JSON; what no trace can tell is None."""
        thinking = np.array(self.thinking)
        num_tokens = sum(
            (int(thinking.sum()), self.forced_tokens, self.probe_tokens, self.answer_tokens)
        )
        return {
            "requests": len(self),
            "share": len(self) / num_all,
            "thinking_mean": float(thinking.mean()),
            "thinking_p50": float(np.percentile(thinking, 50)),
            "thinking_p90": float(np.percentile(thinking, 90)),
            "budget_hit_rate": self.num_budget_hits / len(self),
            "escalation_rate": self.num_escalated / len(self),
            "p90_coverage": self._p90_coverage(),
            "predicted": len(self._ratios),
            "probe_token_share": self.probe_tokens / max(1, num_tokens),
            "forced_token_share": self.forced_tokens / max(1, num_tokens),
            "answer_tokens_mean": self.answer_tokens / len(self),
        }

    def _p90_coverage(self) -> float | None:
        """How often the need is within its predicted p90. A request that was cut before tells only
        as much as it does: the share is read off the curve of need / p90, at 1. None when no need
        is known.
        """
        is_need = np.array(self._is_need, dtype=np.bool_)
        if not is_need.any():
            return None
        return KaplanMeier.fit(np.array(self._ratios), is_need).covered(1.0)


class Statistics:
    """Groups of traces: all, each tier, each tier and stop."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}

    def __len__(self) -> int:
        return len(self._groups.get((None, None), ()))

    def add(self, trace: Settlement) -> None:
        """Counts the trace in its three groups."""
        for key in ((None, None), (trace.tier, None), (trace.tier, trace.stop)):
            self._groups.setdefault(key, Group()).add(trace)

    def rows(self) -> list[tuple[Key, dict[str, Any]]]:
        """All first, then each tier followed by its stops. None in a key: whatever it is."""
        ordered = sorted(self._groups, key=_order)
        return [(key, self._groups[key].as_dict(len(self))) for key in ordered]


def _order(key: Key) -> tuple[int, ...]:
    """A missing part comes before every value."""
    return tuple(-1 if part is None else part for part in key)


def predicted_p90(trace: Settlement) -> float | None:
    """The classifier's own, in thinking tokens; None without one, or above the last bin."""
    hazards = np.array(trace.prior_hazards)
    if len(hazards) != NUM_NEED_BINS:
        return None
    return quantile_tokens(np.cumprod(1.0 - hazards), _P90)


def horizon_or_need(thinking_tokens: int, budget_tokens: int, stop: ThinkingStop.ValueType) -> int:
    """The need, or for a request that was cut the tokens that it is known to be above."""
    if stopped_by_itself(stop):
        return thinking_tokens
    return horizon_tokens(thinking_tokens, budget_tokens, stop)
