"""Decides tier, budget and pool of a request. Pure: no I/O, no clock, no randomness of its own.

An explicit budget decides before an explicit tier, that before the prediction. What they ask for
is then lowered by entitlement, max_tier, deadline and load, in this order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    """What the caller asks for. `coverage` lies strictly between 0 and 1."""

    thinking_budget: int | None = None
    tier: Tier.ValueType | None = None
    max_tier: Tier.ValueType | None = None
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the decision at this moment, whatever was asked for.

    `affordable_tokens` are the thinking tokens that each pool can do before the deadline with an
    answer after them, see affordable_tokens(); a pool without an entry is not limited.
    """

    entitled_tier: Tier.ValueType = TIER_RESEARCH
    load_ceiling: Tier.ValueType | None = None
    affordable_tokens: Mapping[Pool.ValueType, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A decision, with every clamp that lowered it and the probability of just this outcome.

    `tier_propensities` are the probabilities of deciding on each of TIERS; an escalation, which
    follows from the decision, leaves them and `propensity` as they were.

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
    choice = _clamped(rule, budget_tokens, wish, limits, config.tiers)
    if curve and rule == pb.RULE_AUTOMATIC and not choice.clamps:
        choice = replace(choice, predicted_miss=curve.at(choice.budget_tokens))
    return _explore(choice, wish, limits, config, draw)


def escalate(choice: Choice, wish: Wish, limits: Limits, tiers: TierTable) -> Choice | None:
    """The decision one tier up for a request that spent its budget, or None when it may not go on.

    `limits` are those of now, with the time that is left after what was spent; their
    affordable_tokens count from the first thinking token.
    """
    above = tier_above(choice.tier)
    if not choice.is_automatic or above is None or above > _ceiling(wish, limits):
        return None
    affordable = limits.affordable_tokens.get(tiers.pool(above), tiers.budget(above))
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
    rule: pb.Rule.ValueType, budget_tokens: int, wish: Wish, limits: Limits, tiers: TierTable
) -> Choice:
    clamps: list[pb.Clamp.ValueType] = []

    def lower(to_tokens: int, clamp: pb.Clamp.ValueType) -> None:
        nonlocal budget_tokens
        if to_tokens < budget_tokens:
            budget_tokens = to_tokens
            clamps.append(clamp)

    lower(tiers.budget(limits.entitled_tier), pb.CLAMP_ENTITLEMENT)
    if wish.max_tier is not None:
        lower(tiers.budget(wish.max_tier), pb.CLAMP_MAX_TIER)
    lower(_before_deadline(budget_tokens, limits, tiers), pb.CLAMP_DEADLINE)
    if limits.load_ceiling is not None:
        lower(tiers.budget(limits.load_ceiling), pb.CLAMP_LOAD)
        # Load may have moved the request to the other pool, which may be slower.
        lower(_before_deadline(budget_tokens, limits, tiers), pb.CLAMP_DEADLINE)
    tier = tiers.holding(budget_tokens)
    return Choice(
        tier=tier,
        budget_tokens=budget_tokens,
        pool=tiers.pool(tier),
        rule=rule,
        clamps=tuple(dict.fromkeys(clamps)),
        propensity=1.0,
        tier_propensities=_mixture({tier: 1.0}),
    )


def _before_deadline(budget_tokens: int, limits: Limits, tiers: TierTable) -> int:
    """The largest budget, up to this one, whose own pool can do it in time."""
    for tier in tiers.below(tiers.holding(budget_tokens)):
        affordable = limits.affordable_tokens.get(tiers.pool(tier), budget_tokens)
        fitting = min(budget_tokens, tiers.budget(tier), affordable)
        if fitting >= 0 and tiers.holding(fitting) == tier:
            return fitting
    raise DeadlineTooShort(
        "the deadline leaves no time for an answer, however short the thinking; allow more time"
    )


def _explore(
    choice: Choice, wish: Wish, limits: Limits, config: PolicyConfig, draw: float
) -> Choice:
    """Promotes a share of the automatic decisions, after all clamps, so that no two paths lead to
    one outcome: the decision itself has propensity 1 - exploration, the one above it exploration.
    Where nothing is above it that the limits allow, it is the only outcome.
    """
    if choice.rule != pb.RULE_AUTOMATIC or config.exploration == 0.0:
        return choice
    promoted = escalate(choice, wish, limits, config.tiers)
    if promoted is None:
        return choice
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
    tiers = (limits.entitled_tier, wish.max_tier, limits.load_ceiling)
    lowest = min(tier for tier in tiers if tier is not None)
    assert TIER_SIMPLE <= lowest <= TIERS[-1]
    return lowest
