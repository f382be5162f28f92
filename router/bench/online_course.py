"""The course of `ponder bench online`: two tenants on one Redis, and the needs of one double."""

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from opentelemetry.metrics import NoOpMeterProvider
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT

from ponder import keys
from ponder.corrections import MAX_SHIFT
from ponder.ledger import Ledger, LedgerConfig
from ponder.outcomes import TIERS
from router.bench.simulated_tenant import POLICY, Decided, SimulatedTenant, decide, draw
from router.predictions import Predictions, Segment
from router.telemetry import Telemetry

AFTER: Final = 1_500
"""Requests of the tenant whose needs doubled that are watched."""
_REFRESH_EVERY = 20
# The steady tenant sends one request to five of the other.
_STEADY_EVERY = 5
_WEIGHT, _NO_COUNTS_WEIGHT = 50.0, 1e12
_POISONS = ("nan", "inf", "-inf", "1e308", "-1e308", "poison", str(MAX_SHIFT), str(-MAX_SHIFT))
_NUM_POISONED_REQUESTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What learns."""

    name: str
    step: float = LedgerConfig().correction_step
    prior_weight: float = _WEIGHT


VARIANTS: Final = (
    Variant(name="corrected"),
    Variant(name="counts_only", step=0.0),
    Variant(name="nothing", step=0.0, prior_weight=_NO_COUNTS_WEIGHT),
)


@dataclass(frozen=True, slots=True)
class Course:
    """What became of the requests, in order; the needs of `doubled` did so after `history`."""

    doubled: list[Decided]
    steady: list[Decided]
    history: int


class _Clock:
    """One request a second, from now on: Redis lets windows of the past fade at once."""

    def __init__(self, passed_s: float = 0.0) -> None:
        self.now_s = time.time() + passed_s

    def __call__(self) -> float:
        return self.now_s


async def run_course(
    url: str, variant: Variant, seed: int, history: int, advance: Callable[[], None]
) -> Course:
    """`history` requests, then AFTER with needs that are doubled. Calls `advance` after each."""
    clock = _Clock()
    async with _learning(url, variant, clock) as (ledger, predictions):
        doubling, steady = (
            SimulatedTenant(
                Segment(model=f"{variant.name}-{seed}", version="1", tenant=name),
                predictions,
                ledger,
                clock,
                number,
            )
            for number, name in enumerate(("doubling", "steady"), 2 * seed)
        )
        course = Course([], [], history)
        for number in range(history + AFTER):
            if number % _REFRESH_EVERY == 0:
                await predictions.refresh([doubling.segment, steady.segment])
            course.doubled.append(await doubling.run(1.0 if number < history else 2.0))
            if number % _STEADY_EVERY == 0:
                course.steady.append(await steady.run())
            clock.now_s += 1.0
            advance()
    return course


async def poison_costs(url: str, history: int) -> dict[str, float]:
    """After run 0 of the corrected variant: the mean first budgets that the worst poisons give
    requests of the steady tenant, what it gets without, and by how much the other tenant's moved.
    """
    variant = VARIANTS[0]
    victim, other = (
        Segment(model=f"{variant.name}-0", version="1", tenant=name)
        for name in ("steady", "doubling")
    )
    means: dict[str, tuple[float, float]] = {}
    for poison in ("0", *_POISONS):
        fields: dict[FieldT, EncodableT] = {str(int(tier)): poison for tier in TIERS}
        async with (
            _learning(url, variant, _Clock(history + AFTER)) as (_, predictions),
            Redis.from_url(url) as raw,
        ):
            await raw.hset(keys.corrections(victim.model, "1", "steady"), mapping=fields)
            await predictions.refresh([victim, other])
            means[poison] = _mean_budget(predictions, victim), _mean_budget(predictions, other)
    budgets = [mean for mean, _ in means.values()]
    return {
        "poison_none_budget_tokens": means["0"][0],
        "poison_worst_budget_tokens": max(budgets),
        "poison_least_budget_tokens": min(budgets),
        "poison_others_moved_tokens": max(abs(of - means["0"][1]) for _, of in means.values()),
    }


def _mean_budget(predictions: Predictions, segment: Segment) -> float:
    tenant_requests = islice(draw(random.Random(0)), _NUM_POISONED_REQUESTS)
    budgets = [decide(predictions, segment, drawn).budget_tokens for drawn in tenant_requests]
    return round(float(np.mean(budgets)), 1)


@asynccontextmanager
async def _learning(
    url: str, variant: Variant, clock: _Clock
) -> AsyncIterator[tuple[Ledger, Predictions]]:
    ledger = Ledger.from_url(url, LedgerConfig(timeout_s=10.0, correction_step=variant.step))
    telemetry = Telemetry(NoOpMeterProvider())
    predictions = Predictions(
        ledger, variant.prior_weight, telemetry, lambda _: POLICY.tiers, clock
    )
    try:
        yield ledger, predictions
    finally:
        await ledger.close()
