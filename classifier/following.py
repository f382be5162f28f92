"""How likely it was that the logs tell whether a need is above some tokens, and the weights for it.

The question "is the need of this request above b?" is answered when the request stopped by itself
at b or before, or was let spend b. Both depend on the budget, so the answered rows are no fair
sample: an easy prompt with a small budget is missing from those that tell about a large one, and of
two prompts with equal budgets the one with the long need is cut. Two factors repair that.

  decision    A row takes part when the tier a that was decided on would have been followed to b,
              whatever the need. The policy decided from the features alone, so given them that says
              nothing about the need; weight 1 / P(such a tier | features), by the logged
              propensities. It depends on features and b alone, so where it is clipped predicted and
              observed shares still belong to the same mixture of prompts.
  escalation  A row that was decided on tier a goes on to the next one with chance g each time it
              spends its budget, 1 where nothing bounds it. The chance that nothing stopped it
              before t = min(need, b) is the product of the g of the tiers it had to leave; weight
              1 / that (inverse probability of censoring). It depends on the need, so it may not be
              clipped: decisions that are followed to b with a chance below 1 / MAX_WEIGHT take no
              part.

Where nothing is ever raised (g = 0) what is left is the plain rule: a row tells about b when its
budget is b or more, weighted by 1 / P(budget >= b | features). Where everything is (g = 1), every
row tells about everything and all weights are 1.

Cuts for other reasons (cancelled, deadline, given up) leave rows out without repair.

Sources: Horvitz and Thompson (1952), "A Generalization of Sampling Without Replacement from a
Finite Universe"; Robins and Finkelstein (2000), "Correcting for Noncompliance and Dependent
Censoring in an AIDS Clinical Trial".
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.dataset import Dataset
from classifier.decisions import NUM_TIERS, UNKNOWN_TIER
from classifier.survival import TIER_BUDGETS, Floats

DEFAULT_BUDGETS: Final = tuple(TIER_BUDGETS.values())

MAX_WEIGHT: Final = 20.0

MIN_SPENT_BUDGETS: Final = 20
"""With fewer spent budgets of a tenant in a tier, the share of all tenants is taken."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Per row: the weight of its answer, 0 where there is none; whether its need is above; and
    whether the logs could have told at all.
    """

    weights: Floats
    exceeds: NDArray[np.bool_]
    is_possible: NDArray[np.bool_]

    def mean(self, values: Floats) -> float:
        """Weighted mean of values (num_rows,) over the answered rows; NaN without any."""
        total = self.weights.sum()
        return float((self.weights * values).sum() / total) if total else float("nan")

    @property
    def num_answered(self) -> int:
        return int(np.count_nonzero(self.weights))

    @property
    def effective_rows(self) -> float:
        return effective_rows(self.weights)


@dataclass(frozen=True, slots=True)
class Following:
    """Rows with the chance that they are followed on: `goes_on` (num_rows, NUM_TIERS - 1) has it
    for each tier whose budget is spent. `budgets` are those of the tiers. Of a budget
    that was fixed beforehand the tier is the one that holds it.
    """

    data: Dataset
    budgets: tuple[int, ...]
    goes_on: Floats

    @classmethod
    def of(cls, data: Dataset, budgets: tuple[int, ...] = DEFAULT_BUDGETS) -> Self:
        """Chances from the rows themselves: by tenant where enough of its budgets were spent."""
        decided = _with_tiers(data, budgets)
        return cls(decided, budgets, _goes_on(decided))

    def at(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Some of the rows, with the chances that all gave."""
        return type(self)(self.data.rows(chosen), self.budgets, self.goes_on[chosen])

    def __len__(self) -> int:
        return len(self.data)

    def answers(self, tokens: NDArray[np.int64] | int, max_weight: float = MAX_WEIGHT) -> Answers:
        """Is the need above `tokens` (num_rows,)? The factor of the decision is at most
        `max_weight`.
        """
        data, asked = self.data, np.broadcast_to(tokens, len(self))
        chance = self._chance_of_decision(asked)
        followed = self._followed(asked)
        exceeds = (data.thinking_tokens > asked) | ~data.need_known
        is_known = (
            (data.need_known & ~exceeds)
            | (data.thinking_tokens > asked)
            | (data.horizon_tokens >= asked)
        )
        takes_part = (followed >= 1.0 / MAX_WEIGHT) & (chance > 0.0) & is_known
        until = np.where(exceeds, asked, np.minimum(data.thinking_tokens, asked))
        of_escalation = np.maximum(self._followed(until), 1.0 / MAX_WEIGHT)
        of_decision = np.minimum(1.0 / np.maximum(chance, 1e-12), max_weight)
        weights = np.where(takes_part, of_decision / of_escalation, 0.0)
        return Answers(weights, exceeds, chance > 0.0)

    def _reach(self) -> Floats:
        """Chance (num_rows, a, j) that a decision on tier a is followed to the budget of tier j."""
        reach = np.ones((len(self), NUM_TIERS, NUM_TIERS))
        for low in range(NUM_TIERS):
            steps = np.cumprod(self.goes_on[:, low:], axis=1)
            reach[:, low, low + 1 :] = steps
        return reach

    def _tier_of(self, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The tier that tokens need, and whether they are above all of them."""
        tier = np.searchsorted(self.budgets, tokens)
        return np.minimum(tier, NUM_TIERS - 1), tier == NUM_TIERS

    def _chance_of_decision(self, tokens: NDArray[np.int64]) -> Floats:
        tier, is_beyond = self._tier_of(tokens)
        followed = self._reach()[np.arange(len(self)), :, tier] >= 1.0 / MAX_WEIGHT
        chance = (self.data.propensities * followed).sum(axis=1)
        return np.where(is_beyond & (self._first_budget() < tokens), 0.0, chance)

    def _followed(self, tokens: NDArray[np.int64]) -> Floats:
        """Chance that the row's own decision is followed to the tokens."""
        tier, is_beyond = self._tier_of(tokens)
        first = self.data.first_tiers
        reach = self._reach()[np.arange(len(self)), first, tier]
        # A deadline or the caller may have made the first budget smaller than its tier's.
        is_short = is_beyond | (first >= tier)
        chance: Floats = np.where(is_short, 0.0, reach)
        return np.where(self._first_budget() >= tokens, 1.0, chance)

    def _first_budget(self) -> NDArray[np.int64]:
        of_tier = np.array(self.budgets)[self.data.first_tiers]
        raised = self.data.reached_tiers > self.data.first_tiers
        return np.where(raised, of_tier, self.data.budget_tokens)


def effective_rows(weights: Floats) -> float:
    """(sum w)^2 / sum w^2. Source: Kish (1965), "Survey Sampling"."""
    squares = (weights**2).sum()
    return float(weights.sum() ** 2 / squares) if squares else 0.0


def _with_tiers(data: Dataset, budgets: tuple[int, ...]) -> Dataset:
    """Where a budget was fixed beforehand, as if its tier had been decided on for certain."""
    holding = np.minimum(np.searchsorted(budgets, data.budget_tokens), NUM_TIERS - 1)
    is_fixed = data.first_tiers == UNKNOWN_TIER
    return replace(
        data,
        is_automatic=data.is_automatic & ~is_fixed,
        first_tiers=np.where(is_fixed, holding, data.first_tiers),
        reached_tiers=np.where(is_fixed, holding, data.reached_tiers),
        propensities=np.where(
            is_fixed[:, np.newaxis], np.eye(NUM_TIERS)[holding], data.propensities
        ),
    )


def _goes_on(data: Dataset) -> Floats:
    """By tenant and tier. Where no budget was ever spent nothing was cut either: 1."""
    chances = np.zeros((len(data), NUM_TIERS - 1))
    is_spent = ~data.need_known & (data.horizon_tokens >= data.budget_tokens)
    for tier in range(NUM_TIERS - 1):
        went = data.is_automatic & (data.first_tiers <= tier) & (data.reached_tiers > tier)
        ended = data.is_automatic & (data.reached_tiers == tier) & is_spent
        overall = _share(went, ended, 1.0)
        for tenant in np.unique(data.tenants):
            own = data.tenants == tenant
            enough = (went | ended)[own].sum() >= MIN_SPENT_BUDGETS
            chances[own, tier] = _share(went[own], ended[own], overall) if enough else overall
    # What the caller fixed is never raised.
    chances[~data.is_automatic] = 0.0
    return chances


def _share(went: NDArray[np.bool_], ended: NDArray[np.bool_], otherwise: float) -> float:
    total = int(went.sum() + ended.sum())
    return float(went.sum()) / total if total else otherwise
