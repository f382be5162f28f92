"""Figures of one family, computed from the records of its problems."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import mean, median

from workers.confidence import ConfidenceMap
from workers.training.calibration import (
    Metric,
    auroc,
    expected_calibration_error,
    mean_estimate,
    metric_estimate,
    ratio_estimate,
)
from workers.training.evaluation import Estimate, FamilyFigures
from workers.training.evaluator import TIER_BUDGETS
from workers.training.records import POSITION_EDGES, ForcedAnswer, ProblemRecord
from workers.training.shares import NO_TRIALS, Share

LONG_THINKINGS_START = f"step_accuracy_from_0_of_those_beyond_{POSITION_EDGES[-1]}"
"""The first bucket again, of the problems that reach the last one alone. These are the hard ones:
to compare late steps with everybody's early steps would compare problems, not positions."""

Records = Sequence[ProblemRecord]

NO_MAP = ConfidenceMap()

POSITION_NAMES = tuple(f"step_accuracy_from_{edge}" for edge in POSITION_EDGES)


def family_figures(records: Records, confidence_map: ConfidenceMap = NO_MAP) -> FamilyFigures:
    """Compute everything that is defined for these records."""
    tokens = [record.thinking.tokens for record in records]
    return FamilyFigures(
        problems=len(records),
        mean_thinking_tokens=mean(tokens),
        median_thinking_tokens=median(tokens),
        accuracy={
            budget: _estimate(Share.of(record.is_right[budget] for record in records))
            for budget in records[0].is_right
        },
        oracle={
            budget: mean_estimate([record.oracle[budget] for record in records])
            for budget in records[0].oracle
        },
        gains={high: _gain(records, low, high) for low, high in _steps_up(records)},
        oracle_gaps={b: _oracle_gap(records, b) for b in TIER_BUDGETS if b in records[0].oracle},
        figures=_defined(
            {
                **_thinking_figures(records),
                **_answer_figures(records),
                **_confidence_figures(records, confidence_map),
                **_waste_figures(records),
            }
        ),
    )


def _estimate(share: Share) -> Estimate:
    return Estimate(share.value, *share.interval, share.count)


def _steps_up(records: Records) -> list[tuple[int, int]]:
    measured = records[0].is_right
    return [pair for pair in pairwise(TIER_BUDGETS) if set(pair) <= set(measured)]


def _gain(records: Records, low: int, high: int) -> Estimate:
    return mean_estimate([float(r.is_right[high]) - float(r.is_right[low]) for r in records])


def _oracle_gap(records: Records, budget: int) -> Estimate:
    return mean_estimate([r.oracle[budget] - float(r.is_right[budget]) for r in records])


def _defined(figures: dict[str, Estimate]) -> dict[str, Estimate]:
    return {name: figure for name, figure in figures.items() if not math.isnan(figure.value)}


def _thinking_figures(records: Records) -> dict[str, Estimate]:
    thinking = [record.thinking for record in records]
    by_position = [_sum(column) for column in zip(*(t.steps for t in thinking), strict=True)]
    claims = _sum(t.claims for t in thinking)
    finished = [t for t in thinking if t.is_finished] if records[0].oracle else []
    return {
        "step_accuracy": _estimate(_sum(by_position)),
        **{name: _estimate(s) for name, s in zip(POSITION_NAMES, by_position, strict=True)},
        LONG_THINKINGS_START: _estimate(_sum(t.steps[0] for t in thinking if t.steps[-1].count)),
        "false_hits": _estimate(Share(claims.count - claims.successes, claims.count)),
        "readable_lines": _estimate(_sum(t.lines for t in thinking)),
        "stopped_by_itself": _estimate(Share.of(t.is_finished for t in thinking)),
        "gave_up": _estimate(Share.of(t.useful_tokens is None for t in finished)),
    }


def _sum(shares: Iterable[Share]) -> Share:
    return sum(shares, NO_TRIALS)


def _answer_figures(records: Records) -> dict[str, Estimate]:
    forced = [answer for record in records for answer in record.forced]
    return {
        "well_formed_when_cut": _estimate(
            Share.of(answer.is_well_formed for answer in forced if answer.is_random_cut)
        ),
        "markers_in_answers": _estimate(Share.of(answer.has_marker for answer in forced)),
    }


def _confidence_figures(records: Records, confidence_map: ConfidenceMap) -> dict[str, Estimate]:
    """How confidence ranks and predicts right answers, when cut at random and when at a tier."""
    at_random = [[a for a in record.forced if a.is_random_cut] for record in records]
    at_tiers = [[a for a in record.forced if not a.is_random_cut] for record in records]
    return {
        "answer_auroc": _metric(auroc, at_random, NO_MAP),
        "answer_ece": _metric(expected_calibration_error, at_random, confidence_map),
        "answer_ece_without_map": _metric(expected_calibration_error, at_random, NO_MAP),
        "answer_auroc_at_tiers": _metric(auroc, at_tiers, NO_MAP),
        "answer_ece_at_tiers": _metric(expected_calibration_error, at_tiers, confidence_map),
    }


def _metric(
    metric: Metric, answers: Sequence[Sequence[ForcedAnswer]], confidence_map: ConfidenceMap
) -> Estimate:
    return metric_estimate(
        metric,
        [[confidence_map.probability(a.confidence) for a in group] for group in answers],
        [[a.is_right for a in group] for group in answers],
    )


def _waste_figures(records: Records) -> dict[str, Estimate]:
    """Tokens after the first correct state: their share of all, and the mean share by problem."""
    solved = [
        (t.tokens - t.useful_tokens, t.tokens)
        for t in (record.thinking for record in records)
        if t.useful_tokens is not None
    ]
    wasted, spent = [part for part, _ in solved], [whole for _, whole in solved]
    return {
        "overthinking_share": ratio_estimate(wasted, spent),
        "overthinking_share_by_problem": mean_estimate([p / w for p, w in solved]),
    }
