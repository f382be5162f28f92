"""A tenant whose needs are drawn, on the real ledger, predictions and policy. No worker, no model.

The logarithm of a need is normal around the difficulty of its prompt; the classifier knows the
difficulty with an error, and its hazards are exact for what it knows. A shift multiplies the needs
and tells the classifier nothing.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ponder.bins import NEED_BIN_EDGES
from ponder.ledger import Ledger
from ponder.outcomes import first_budget_missed
from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import (
    FINISH_REASON_STOP,
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_MODERATE,
    Usage,
)
from router.decisions import Classification
from router.policy import Choice, Limits, PolicyConfig, Wish, choose, escalate
from router.predictions import Predictions, Segment
from router.survival import Hazards, median_bin
from router.tiers import TierTable

COVERAGE: Final = 0.9
# Median needs of 20 to 900 tokens; doubled, all but 1 in 1,000 are still within research.
_LEAST_DIFFICULTY, _MOST_DIFFICULTY = 3.0, 6.8
_SPREAD, _ERROR = 0.6, 0.25
_WISH: Final = Wish(coverage=COVERAGE)
_LIMITS: Final = Limits(affordable_tokens={})
POLICY: Final = PolicyConfig(tiers=TierTable(), default_tier=TIER_MODERATE, exploration=0.0)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A request to come: what it needs unless needs shift, and what the classifier says."""

    need_tokens: int
    hazards: Hazards


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of a request. `promised` is 1 less the predicted miss; tokens are thinking."""

    covered: bool
    promised: float
    budget_tokens: int
    used_tokens: int


def draw(rng: random.Random) -> Iterator[Drawn]:
    """Requests without end. The same for the same generator, whatever is learned meanwhile."""
    while True:
        difficulty = rng.uniform(_LEAST_DIFFICULTY, _MOST_DIFFICULTY)
        need = math.exp(rng.gauss(difficulty, _SPREAD))
        hazards = _hazards(rng.gauss(difficulty, _ERROR), math.hypot(_SPREAD, _ERROR))
        yield Drawn(math.ceil(need), hazards)


class SimulatedTenant:
    """Decides and settles one tenant's requests, one after the other."""

    def __init__(
        self,
        segment: Segment,
        predictions: Predictions,
        ledger: Ledger,
        clock: Callable[[], float],
        seed: int,
    ) -> None:
        """`clock` gives unix time."""
        self.segment = segment
        self._predictions = predictions
        self._ledger = ledger
        self._clock = clock
        self._requests = draw(random.Random(seed))
        self._num_settled = 0

    async def run(self, need_factor: float = 1.0) -> Decided:
        """The next request: decided, escalated until it suffices, settled."""
        drawn = next(self._requests)
        first = decide(self._predictions, self.segment, drawn)
        need_tokens = math.ceil(drawn.need_tokens * need_factor)
        record = self._record(drawn, first, need_tokens)
        await self._ledger.settle(record)
        assert first.predicted_miss is not None, "nothing but the prediction decides here"
        return Decided(
            covered=not first_budget_missed(record),
            promised=1.0 - first.predicted_miss,
            budget_tokens=first.budget_tokens,
            used_tokens=record.usage.thinking_tokens,
        )

    def _record(self, drawn: Drawn, first: Choice, need_tokens: int) -> Settlement:
        last, escalations = first, 0
        while need_tokens > last.budget_tokens and (
            raised := escalate(last, _WISH, _LIMITS, POLICY.tiers)
        ):
            last, escalations = raised, escalations + 1
        self._num_settled += 1
        suffices = need_tokens <= last.budget_tokens
        return Settlement(
            request_id=f"r{self._num_settled}",
            tenant=self.segment.tenant,
            model=self.segment.model,
            tier=last.tier,
            pool=last.pool,
            rule=last.rule,
            budget_tokens=last.budget_tokens,
            stop=THINKING_STOP_FINISHED if suffices else THINKING_STOP_EXHAUSTED,
            finish_reason=FINISH_REASON_STOP,
            usage=Usage(
                thinking_tokens=min(need_tokens, last.budget_tokens), escalations=escalations
            ),
            predicted_bin=median_bin(drawn.hazards),
            prior_hazards=tuple(drawn.hazards.tolist()),
            propensity=last.propensity,
            tier_propensities=last.tier_propensities,
            predicted_miss=last.predicted_miss,
            classifier_version=self.segment.version,
            features=(),
            prompt=None,
            segment=escalations,
            queue_ms=0.0,
            first_token_ms=0.0,
            worker="simulated",
            finished_at_s=self._clock(),
        )


def decide(predictions: Predictions, segment: Segment, drawn: Drawn) -> Choice:
    """The first budget, with what was last read. Nothing is settled."""
    prior = Classification(hazards=drawn.hazards, features=(), version=segment.version)
    curve = predictions.predict(segment, prior).curve
    return choose(_WISH, curve, _LIMITS, POLICY, draw=1.0)


def _hazards(mean: float, deviation: float) -> Hazards:
    """Of a need whose logarithm is normal."""
    depths = ((math.log(edge) - mean) / deviation for edge in NEED_BIN_EDGES)
    alive = np.array([1.0, *(0.5 * math.erfc(depth / math.sqrt(2.0)) for depth in depths)])
    # Above 0, so that a bin that nobody reaches has a hazard.
    alive = np.maximum(alive, 1e-12)
    return np.asarray(1.0 - alive[1:] / alive[:-1], dtype=np.float64)
