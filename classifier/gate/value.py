"""What decisions by the candidate would be worth, from requests that another classifier decided.

The utility of deciding on tier a for a request whose need is covered by tier j, in escalations:

    u(a) = sum over the steps k -> k + 1 taken, k < a, of 1[need > budget k] - price

A step up is worth one escalation (a move to another pool, a prefill) where the budget below would
not have sufficed, and costs `price` either way: room that the pool and the reservation give up. Up
to a constant it is minus the quantile loss (Koenker and Bassett 1978, "Regression Quantiles") of
the tier at level 1 - price. With price = 1 - COVERAGE its optimum is just the policy's rule, the
smallest tier that suffices with probability COVERAGE: a step pays when P(need > budget) is above
1 - COVERAGE. No price per token has that optimum: tiers lie 450, 1,500 and 8,000 tokens apart.

A request tells u(a) when it tells whether its need is above the budget of tier a - 1: so often many
tiers at once, not just the one that was decided on. Weights are those of following.py.

    IPS    mean of w u
    SNIPS  sum of w u / sum of w
    DR     mean of m + sum of w (u - m) / sum of w

m is the utility by hazards per bin of the champion's median, counted on rows that are not judged
and without the candidate. DR is right when m is, or when the weights are. Only automatic decisions
count, as the classifier decides no others; what clamps would lower is taken as it was wished for.

Sources: Dudik, Langford and Li (2011), "Doubly Robust Policy Evaluation and Learning"; Swaminathan
and Joachims (2015), "The Self-Normalized Estimator for Counterfactual Learning".
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.following import Following, effective_rows
from classifier.gate.contest import Contender, Contest, survival_at
from classifier.gate.report import Check
from classifier.gate.resampling import Interval, interval
from classifier.gate.rows import LoggedRows
from classifier.survival import Floats, survival_of
from ponder.bins import NUM_NEED_BINS

MARGIN: Final = 0.005
MIN_EFFECTIVE_ROWS: Final = 1_000
MAX_VALUE_WEIGHT: Final = 50.0
MAX_UNTOLD_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class PolicyRows:
    """What each row says of a policy that decides on `tiers`: the weight of its answer (0: none),
    the utility that it tells, the utility that the model expects, and whether it could have told.
    All (num_rows,).
    """

    tiers: NDArray[np.int64]
    weights: Floats
    utility: Floats
    expected: Floats
    is_possible: NDArray[np.bool_]

    @classmethod
    def of(
        cls, tiers: NDArray[np.int64], modelled: Floats, following: Following, price: float
    ) -> Self:
        """Of deciding on `tiers` (num_rows,). `modelled` is P(need > budget) (num_rows, NUM_TIERS)
        by the outcome model.
        """
        below = np.array((0, *following.budgets))[tiers]  # the budget of the tier below
        answers = following.answers(below, MAX_VALUE_WEIGHT)
        saved = _steps_below(following, tiers, answers.exceeds)
        steps = np.arange(modelled.shape[1]) < tiers[:, np.newaxis]
        expected = (modelled * steps).sum(axis=1) - price * tiers
        return cls(tiers, answers.weights, saved - price * tiers, expected, answers.is_possible)

    @property
    def effective_rows(self) -> float:
        return effective_rows(self.weights)

    @property
    def ips(self) -> float:
        return float((self.weights * self.utility).mean())

    @property
    def snips(self) -> float:
        total = self.weights.sum()
        return float((self.weights * self.utility).sum() / total) if total else float("nan")

    def columns(self) -> Floats:
        """What DR needs of each row, (num_rows, 4): see doubly_robust."""
        residual = self.weights * (self.utility - self.expected)
        ones = np.ones(len(self.weights))
        return np.stack([self.expected, residual, self.weights, ones], axis=1)


def doubly_robust(sums: Floats) -> Floats:
    """DR (num_resamples,) from sums of PolicyRows.columns (num_resamples, 4)."""
    model, residual, weight, count = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = np.where(weight > 0.0, residual / weight, np.nan)
    values: Floats = model / count + correction
    return values


def difference(one: PolicyRows, other: PolicyRows, prompts: NDArray[np.int64]) -> Interval:
    """DR of one policy less that of the other, drawn together."""
    columns = np.concatenate([one.columns(), other.columns()], axis=1)
    return interval(
        columns, prompts, lambda sums: doubly_robust(sums[:, :4]) - doubly_robust(sums[:, 4:])
    )


def check_value(contest: Contest) -> Check:
    """Refused when the candidate's decisions may be worth MARGIN less than the champion's, or when
    the logs tell too little of them.
    """
    is_automatic = contest.data.is_automatic
    decided = is_automatic | ~is_automatic.any()
    prompts = contest.rows.prompts[decided]
    following = contest.following.at(decided)
    candidate, champion = _policies(contest, following, decided)
    found = difference(candidate, champion, prompts)
    effective = min(candidate.effective_rows, champion.effective_rows)
    untold = 1.0 - float((candidate.is_possible & champion.is_possible).mean())
    enough = effective >= MIN_EFFECTIVE_ROWS and untold <= MAX_UNTOLD_SHARE
    return Check.of(
        "value",
        passed=enough and found.low > -MARGIN,  # false for NaN
        remedy=_worse(found) if enough else _too_little(effective, untold),
        candidate=_cell(candidate, prompts),
        champion=_cell(champion, prompts),
        limit=f"difference {found}: above -{MARGIN}; {MIN_EFFECTIVE_ROWS} effective rows",
        figures={
            "difference": found.estimate,
            "low": found.low,
            "high": found.high,
            "untold_share": untold,
            "changed_share": float((candidate.tiers != champion.tiers).mean()),
            "rows": len(following),
            "candidate": _figures(candidate, prompts),
            "champion": _figures(champion, prompts),
        },
    )


def modelled_survival(
    champion: Contender,
    background: Contender,
    background_rows: LoggedRows,
    budgets: tuple[int, ...],
) -> Floats:
    """P(need > budget) (num_rows, NUM_TIERS) for the champion's rows, by hazards per bin of its
    median, counted on the background rows.
    """
    events, at_risk = _counts(background, background_rows)
    mean = (events.sum(axis=0) + 0.5) / (at_risk.sum(axis=0) + 1.0)
    hazards = (events + mean) / (at_risk + 1.0)
    curves = survival_of(hazards)[_median_bin(champion)]
    return np.stack([survival_at(curves, budget) for budget in budgets], axis=1)


def _policies(
    contest: Contest, following: Following, decided: NDArray[np.bool_]
) -> tuple[PolicyRows, PolicyRows]:
    background = Contender.of(contest.champion.served, contest.background.data)
    budgets, price = contest.options.budgets, contest.options.step_price
    modelled = modelled_survival(contest.champion, background, contest.background, budgets)
    candidate, champion = (
        PolicyRows.of(c.tier(budgets)[decided], modelled[decided], following, price)
        for c in (contest.candidate, contest.champion)
    )
    return candidate, champion


def _steps_below(
    following: Following, tiers: NDArray[np.int64], exceeds: NDArray[np.bool_]
) -> Floats:
    """How many of the steps to `tiers` saved an escalation, where that is told."""
    spent = following.data.thinking_tokens
    # Where the need is not within the budget below, every step was needed.
    within = np.searchsorted(following.budgets, spent)
    saved: Floats = np.where(exceeds, tiers, np.minimum(within, tiers)).astype(float)
    return saved


def _counts(background: Contender, rows: LoggedRows) -> tuple[Floats, Floats]:
    bins = _median_bin(background)
    shape = (NUM_NEED_BINS + 1, NUM_NEED_BINS)
    events, at_risk = np.zeros(shape), np.zeros(shape)
    np.add.at(events, bins, rows.data.events)
    np.add.at(at_risk, bins, rows.data.at_risk)
    return events, at_risk


def _median_bin(contender: Contender) -> NDArray[np.int64]:
    bins: NDArray[np.int64] = (contender.survival > 0.5).sum(axis=1, dtype=np.int64)
    return bins


def _figures(policy: PolicyRows, prompts: NDArray[np.int64]) -> dict[str, float]:
    found = interval(policy.columns(), prompts, doubly_robust)
    return {
        "dr": found.estimate,
        "dr_low": found.low,
        "dr_high": found.high,
        "ips": policy.ips,
        "snips": policy.snips,
        "effective_rows": policy.effective_rows,
        "max_weight": float(policy.weights.max()),
        "mean_tier": float(policy.tiers.mean()),
    }


def _cell(policy: PolicyRows, prompts: NDArray[np.int64]) -> str:
    figures = _figures(policy, prompts)
    return f"{figures['dr']:.4f}, {figures['effective_rows']:.0f} effective rows"


def _too_little(effective: float, untold: float) -> str:
    if untold > MAX_UNTOLD_SHARE:
        return (
            f"not enough evidence: of {untold:.0%} of the requests the logs can never tell what "
            "the tier is worth: raise ROUTER_EXPLORATION, or let requests escalate"
        )
    return (
        f"not enough evidence: {effective:.0f} effective rows of {MIN_EFFECTIVE_ROWS}: collect "
        "more traces, or raise ROUTER_EXPLORATION"
    )


def _worse(found: Interval) -> str:
    return (
        f"its decisions may be worth {-found.low:.3f} escalations per request less than the "
        "champion's: keep the champion, or collect more traces if the interval is wide"
    )
