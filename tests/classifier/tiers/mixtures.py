"""Needs that gather at known places, and what is left of them when budgets cut them."""

import numpy as np

from classifier.kaplan_meier import Floats
from classifier.tiers.spending import Spending


def needs_around(
    modes: tuple[int, ...], *, count: int = 6_000, spread: float = 0.25, seed: int = 0
) -> Floats:
    """Equally many needs at each mode, lognormal with this spread of the logarithm."""
    rng = np.random.default_rng(seed)
    logs = np.log(rng.choice(modes, count)) + spread * rng.standard_normal(count)
    needs: Floats = np.maximum(1.0, np.rint(np.exp(logs)))
    return needs


def uncut(needs: Floats) -> Spending:
    return cut_at(needs, np.full(len(needs), np.inf))


def cut_at(needs: Floats, budgets: Floats) -> Spending:
    rows = zip(np.minimum(needs, budgets), needs <= budgets, strict=True)
    return Spending.of((int(tokens), bool(is_need), 0) for tokens, is_need in rows)
