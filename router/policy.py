"""Decides tier, budget and pool of a request. Pure: no I/O, no clock, no randomness of its own.

An explicit budget decides before an explicit tier, that before the prediction. What they ask for
is then lowered by worth, entitlement, max_tier, deadline and load, in this order.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_RESEARCH, TIER_SIMPLE, Pool, Tier
from router.errors import DeadlineTooShort, NotEntitled
from router.survival import SurvivalCurve
from router.tiers import TIERS, TierTable, tier_above, tier_name

_AUTOMATIC_RULES: Final = (
    pb.RULE_AUTOMATIC,
    pb.RULE_EXPLORATION,
    pb.RULE_DEGRADED_DEFAULT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """`default_tier` is for requests without a prediction; `exploration` is a share, 0 to 1."""

    tiers: TierTable
    default_tier: Tier.ValueType
    exploration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller asks for. `coverage` lies strictly between 0 and 1.

    `worth_tokens`: the most thinking tokens that one more request which ends by itself may cost.
    """

    thinking_budget: int | None = None
    tier: Tier.ValueType | None = None
    max_tier: Tier.ValueType | None = None
    coverage: float
    worth_tokens: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the decision at this moment, whatever was asked for.

    `affordable_tokens` are the thinking tokens that each pool can do before the deadline with an
    answer after them, see affordable_tokens(); a pool without an entry is not limited.
    `queued_tokens` are the same behind what waits in the pool now, where that makes them fewer.
    `closed_tiers` are those that the load leaves no room for, never simple: what was meant for one
    gets the largest open tier below.
    """

    entitled_tier: Tier.ValueType = TIER_RESEARCH
    closed_tiers: frozenset[Tier.ValueType] = frozenset()
    affordable_tokens: Mapping[Pool.ValueType, int]
    queued_tokens: Mapping[Pool.ValueType, int] = field(default_factory=dict)

    def under_load(self) -> Mapping[Pool.ValueType, int]:
        """The thinking tokens that each pool can do now."""
        pools = self.affordable_tokens.keys() | self.queued_tokens.keys()
        of_both = (self.affordable_tokens, self.queued_tokens)
        return {pool: min(of[pool] for of in of_both if pool in of) for pool in pools}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A decision, with every clamp that lowered it and the probability of just this outcome.

    `tier_propensities` are the probabilities of deciding on each of TIERS; an escalation, which
    follows from the decision, leaves them and `propensity` as they were. No escalation goes above
    `worth_tier`.

    `predicted_miss` is the predicted P(need > first budget) when the prediction alone decided on
    that budget: automatic, neither clamped nor explored. It stays as it was in an escalation.
    """

    tier: Tier.ValueType
    budget_tokens: int
    pool: Pool.ValueType
    rule: pb.Rule.ValueType
    clamps: tuple[pb.Clamp.ValueType, ...]
    propensity: float
    tier_propensities: tuple[float, ...]
    worth_tier: Tier.ValueType = TIER_RESEARCH
    predicted_miss: float | None = None

    @property
    def is_automatic(self) -> bool:
        """Explicit budgets and tiers are caps: only an automatic decision is ever raised."""
        return self.rule in _AUTOMATIC_RULES


def affordable_tokens(
    *, left_s: float, tokens_per_s: float, reserve_tokens: int, reserve_s: float
) -> int:
    """Thinking tokens that fit before the deadline with the answer's reserve kept.

    Below 0 when not even the answer fits. `tokens_per_s` may be infinite: not measured yet.
    """
    if left_s < reserve_s:
        return -1
    tokens = (left_s - reserve_s) * tokens_per_s - reserve_tokens
    return -1 if tokens < 0 else int(min(tokens, 2**31 - 1))


def choose(
    wish: Wish, curve: SurvivalCurve | None, limits: Limits, config: PolicyConfig, draw: float
) -> Choice:
    """The decision. `draw` is uniform in [0, 1) and decides whether this request explores.

    Raises NotEntitled, DeadlineTooShort.
    """
    rule, budget_tokens = _wanted(wish, curve, config)
    if rule in (pb.RULE_EXPLICIT_BUDGET, pb.RULE_EXPLICIT_TIER):
        _check_entitled(rule, budget_tokens, limits, config.tiers)
    worth_tier = TIER_RESEARCH
    if rule == pb.RULE_AUTOMATIC and curve is not None:
        worth_tier = _worth_tier(curve, wish.worth_tokens, config.tiers)
    choice = _clamped(rule, budget_tokens, worth_tier, wish, limits, config.tiers)
    if curve and rule == pb.RULE_AUTOMATIC and not choice.clamps:
        choice = replace(choice, predicted_miss=curve.at(choice.budget_tokens))
    return _explore(choice, wish, limits, config, draw)


def escalate(choice: Choice, wish: Wish, limits: Limits, tiers: TierTable) -> Choice | None:
    """The decision one tier up for a request that spent its budget, or None when it may not go on.

    `limits` are those of now, with the time that is left after what was spent; their
    affordable_tokens count from the first thinking token.
    """
    above = tier_above(choice.tier)
    if not choice.is_automatic or above is None:
        return None
    if above > min(_ceiling(wish, limits), choice.worth_tier) or above in limits.closed_tiers:
        return None
    affordable = limits.under_load().get(tiers.pool(above), tiers.budget(above))
    raised = min(tiers.budget(above), affordable)
    if raised <= tiers.budget(choice.tier):
        return None
    cut = raised < tiers.budget(above)
    return replace(
        choice,
        tier=above,
        budget_tokens=raised,
        pool=tiers.pool(above),
        clamps=(pb.CLAMP_DEADLINE,) if cut else (),
    )


def _wanted(
    wish: Wish, curve: SurvivalCurve | None, config: PolicyConfig
) -> tuple[pb.Rule.ValueType, int]:
    tiers = config.tiers
    if wish.thinking_budget is not None:
        return pb.RULE_EXPLICIT_BUDGET, wish.thinking_budget
    if wish.tier is not None:
        return pb.RULE_EXPLICIT_TIER, tiers.budget(wish.tier)
    if curve is None:
        return pb.RULE_DEGRADED_DEFAULT, tiers.budget(config.default_tier)
    return pb.RULE_AUTOMATIC, _smallest_sufficient(curve, wish.coverage, tiers)


def _smallest_sufficient(curve: SurvivalCurve, coverage: float, tiers: TierTable) -> int:
    sufficient = (b for b in tiers.budgets if curve.at(b) <= 1.0 - coverage)
    return next(sufficient, tiers.largest_budget)


def _worth_tier(curve: SurvivalCurve, worth_tokens: float, tiers: TierTable) -> Tier.ValueType:
    """The tier from which no higher one is worth its tokens, whether one step up or several."""
    if worth_tokens == math.inf:
        return TIERS[-1]
    for tier in TIERS[:-1]:
        higher = TIERS[TIERS.index(tier) + 1 :]
        spent = tiers.budget(tier)
        if not any(curve.is_worth(worth_tokens, spent, tiers.budget(up)) for up in higher):
            return tier
    return TIERS[-1]


def _check_entitled(
    rule: pb.Rule.ValueType, budget_tokens: int, limits: Limits, tiers: TierTable
) -> None:
    most = tiers.budget(limits.entitled_tier)
    if budget_tokens <= most:
        return
    plan = f"your plan goes up to {tier_name(limits.entitled_tier)} ({most} thinking tokens)"
    if rule == pb.RULE_EXPLICIT_BUDGET:
        raise NotEntitled(
            f"thinking_budget is {budget_tokens}, but {plan}; use at most {most} or leave it out"
        )
    raise NotEntitled(
        f"tier is {tier_name(tiers.holding(budget_tokens))}, but {plan}; "
        "ask for a smaller tier or leave it out"
    )


def _clamped(
    rule: pb.Rule.ValueType,
    budget_tokens: int,
    worth_tier: Tier.ValueType,
    wish: Wish,
    limits: Limits,
    tiers: TierTable,
) -> Choice:
    clamps: list[pb.Clamp.ValueType] = []

    def lower(to_tokens: int, clamp: pb.Clamp.ValueType) -> None:
        nonlocal budget_tokens
        if to_tokens < budget_tokens:
            budget_tokens = to_tokens
            clamps.append(clamp)

    if rule == pb.RULE_AUTOMATIC:
        lower(tiers.budget(worth_tier), pb.CLAMP_WORTH)
    lower(tiers.budget(limits.entitled_tier), pb.CLAMP_ENTITLEMENT)
    if wish.max_tier is not None:
        lower(tiers.budget(wish.max_tier), pb.CLAMP_MAX_TIER)
    in_time = _fitting(budget_tokens, limits.affordable_tokens, TIERS, tiers)
    lower(in_time, pb.CLAMP_DEADLINE)
    open_tiers = [tier for tier in TIERS if tier not in limits.closed_tiers]
    lower(_fitting(budget_tokens, limits.under_load(), open_tiers, tiers), pb.CLAMP_LOAD)
    tier = tiers.holding(budget_tokens)
    return Choice(
        tier=tier,
        budget_tokens=budget_tokens,
        pool=tiers.pool(tier),
        rule=rule,
        clamps=tuple(dict.fromkeys(clamps)),
        propensity=1.0,
        tier_propensities=_mixture({tier: 1.0}),
        worth_tier=worth_tier,
    )


def _fitting(
    budget_tokens: int,
    affordable_tokens: Mapping[Pool.ValueType, int],
    allowed: Collection[Tier.ValueType],
    tiers: TierTable,
) -> int:
    """The largest budget, up to this one, of an allowed tier whose own pool can do it in time."""
    for tier in tiers.below(tiers.holding(budget_tokens)):
        affordable = affordable_tokens.get(tiers.pool(tier), budget_tokens)
        fitting = min(budget_tokens, tiers.budget(tier), affordable)
        if tier in allowed and fitting >= 0 and tiers.holding(fitting) == tier:
            return fitting
    raise DeadlineTooShort(
        "the deadline leaves no time for an answer, however short the thinking; allow more time"
    )


def _explore(
    choice: Choice, wish: Wish, limits: Limits, config: PolicyConfig, draw: float
) -> Choice:
    """Promotes a share of the automatic decisions, after all clamps, so that no two paths lead to
    one outcome: the decision itself has propensity 1 - exploration, the one above it exploration.
    Where nothing is above it that the limits allow, it is the only outcome. What is not worth its
    tokens is explored too: nobody else would learn whether that is true.
    """
    if choice.rule != pb.RULE_AUTOMATIC or config.exploration == 0.0:
        return choice
    promoted = escalate(replace(choice, worth_tier=TIERS[-1]), wish, limits, config.tiers)
    if promoted is None:
        return choice
    promoted = replace(promoted, worth_tier=max(promoted.tier, choice.worth_tier))
    stays = 1.0 - config.exploration
    mixture = _mixture({choice.tier: stays, promoted.tier: config.exploration})
    choice = replace(choice, propensity=stays, tier_propensities=mixture)
    if draw >= config.exploration:
        return choice
    return replace(
        promoted,
        rule=pb.RULE_EXPLORATION,
        propensity=config.exploration,
        tier_propensities=mixture,
        predicted_miss=None,
    )


def _mixture(probabilities: Mapping[Tier.ValueType, float]) -> tuple[float, ...]:
    return tuple(probabilities.get(tier, 0.0) for tier in TIERS)


def _ceiling(wish: Wish, limits: Limits) -> Tier.ValueType:
    lowest = limits.entitled_tier
    if wish.max_tier is not None:
        lowest = min(lowest, wish.max_tier)
    assert TIER_SIMPLE <= lowest <= TIERS[-1]
    return lowest
