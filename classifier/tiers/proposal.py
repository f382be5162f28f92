"""What a set of four budgets would cost and cover."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from classifier.errors import DatasetError
from classifier.kaplan_meier import KaplanMeier
from classifier.survival import TIER_BUDGETS
from classifier.tiers.density import NeedDensity
from classifier.tiers.placement import bin_edges, place_budgets, round_numbers
from classifier.tiers.spending import Spending

MIN_KNOWN: Final = 100
JUST_SHORT: Final = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFigures:
    """One tier when every request gets the smallest that suffices. Shares are of all requests.

    share        needs above the budget below, up to this one
    covers       needs up to this budget
    mean_tokens  thinking of this tier's requests; None when it has none
    just_short   needs above this budget, up to 1.25 times it: nearly all of the thinking of a
                 request that is held to this budget would be in vain
    """

    tier: str
    budget_tokens: int
    share: float
    covers: float
    mean_tokens: float | None
    just_short: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`mean_tokens`: thinking of a request, up to the largest budget. Escalation thinks on from
    where a budget ended, so a tier guessed too low costs no thinking. `mean_budget_tokens`: what
    is reserved for it.
    """

    tiers: tuple[TierFigures, ...]
    mean_tokens: float
    mean_budget_tokens: float

    @property
    def budgets(self) -> tuple[int, ...]:
        return tuple(tier.budget_tokens for tier in self.tiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The budgets beside the default ones. `unknown_share`: needs above all that was seen.
    `model` is None when nothing says whose needs they are.
    """

    model: str | None
    num_requests: int
    num_known: int
    unknown_share: float
    modes: list[int]
    proposed: Plan
    default: Plan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        lines = configuration(self.proposed.budgets, self.model)
        return {**asdict(self), "configuration": lines}


def propose(
    spending: Spending, coverage: float, *, at_edges: bool = False, model: str | None = None
) -> Proposal:
    """Budgets are round numbers, or with `at_edges` edges of the bins of the need.

    Raises DatasetError when the traces say too little.
    """
    if spending.num_known < MIN_KNOWN:
        raise DatasetError(
            f"{spending.num_known} of {len(spending)} requests stopped by themselves, at least "
            f"{MIN_KNOWN} are needed: collect more traces, or with a larger budget"
        )
    curve = spending.curve()
    largest_seen = float(spending.tokens.max())
    candidates = bin_edges() if at_edges else round_numbers(largest_seen)
    budgets = place_budgets(curve, candidates, coverage, largest_seen)
    return Proposal(
        model=model,
        num_requests=len(spending),
        num_known=spending.num_known,
        unknown_share=curve.unknown,
        modes=NeedDensity.of(curve, spending.num_known).modes(),
        proposed=plan_of(curve, budgets),
        default=plan_of(curve, tuple(TIER_BUDGETS.values())),
    )


def plan_of(curve: KaplanMeier, budgets: tuple[int, ...]) -> Plan:
    """What these budgets would cost and cover."""
    steps = zip(TIER_BUDGETS, pairwise((-1, *budgets)), strict=True)
    tiers = tuple(_tier(curve, name, low, high) for name, (low, high) in steps)
    beyond = 1.0 - tiers[-1].covers
    return Plan(
        tiers=tiers,
        mean_tokens=curve.mean_up_to(budgets[-1]),
        mean_budget_tokens=sum(t.share * t.budget_tokens for t in tiers) + beyond * budgets[-1],
    )


def configuration(budgets: tuple[int, ...], model: str | None = None) -> dict[str, str]:
    """Environment variables that set the budgets, by the processes that each is for; for all of a
    router's models when none is named.
    """
    entry = ",".join(map(str, budgets))
    return {
        "router": f"ROUTER_TIER_BUDGETS={f'{model}={entry}' if model else entry}",
        "workers of pool easy": f"WORKER_MAX_THINKING_BUDGET={budgets[1]}",
        "workers of pool thinking": f"WORKER_MAX_THINKING_BUDGET={budgets[3]}",
    }


def _tier(curve: KaplanMeier, name: str, low: int, high: int) -> TierFigures:
    within = (curve.needs > low) & (curve.needs <= high)
    short = (curve.needs > high) & (curve.needs <= JUST_SHORT * high)
    share = float(curve.masses[within].sum())
    spent = float((curve.needs * curve.masses)[within].sum())
    return TierFigures(
        tier=name,
        budget_tokens=high,
        share=share,
        covers=curve.covered(high),
        mean_tokens=spent / share if share else None,
        just_short=float(curve.masses[short].sum()),
    )
