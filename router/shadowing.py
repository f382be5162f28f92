"""A shadow classifies what another one decides, and the tiers are compared. It decides nothing."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from classifier.errors import ClassifierError
from ponder.classifiers import ClassifierStore
from ponder.ledger import LedgerUnavailable
from ponder.shadow import ShadowTally
from ponder.v1.budget_pb2 import Tier
from router import policy
from router.classification import Classifying, classification
from router.decisions import Decision, Prediction
from router.errors import RouterError
from router.limits import CurrentLimits
from router.policy import Limits, PolicyConfig
from router.predictions import Predictions, segment_of
from router.queries import Query
from router.serving import Classifier
from router.telemetry import Telemetry

_log = logging.getLogger(__name__)
# Above any share of exploration: the tier that the prediction alone leads to.
_NO_EXPLORATION: Final = 1.0


class Shadowing:
    """Compares after the decision was sent on its way; what it counts reaches Redis later.

    The shadow's prediction is its own: only what decides has observed needs to be corrected by.
    """

    def __init__(
        self,
        classifying: Classifying,
        predictions: Predictions,
        limits: CurrentLimits,
        policy_of: Callable[[str], PolicyConfig],
        telemetry: Telemetry,
    ) -> None:
        self._classifying = classifying
        self._predictions = predictions
        self._limits = limits
        self._policy_of = policy_of
        self._telemetry = telemetry
        self._tallies: dict[tuple[str, str], ShadowTally] = {}

    def follow(self, query: Query, decision: Decision) -> None:
        """Compares once the event loop comes to it, if the model has a shadow."""
        shadow = self._classifying.serving(query.model).shadow
        if shadow is not None and decision.prediction is not None and decision.choice.is_automatic:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._compare, shadow, query, decision.prediction)

    async def write(self, store: ClassifierStore, clock: Callable[[], float] = time.time) -> None:
        """Adds what was counted to Redis; what Redis does not take is kept for the next time. One
        whose reply was lost may count twice.
        """
        for (model, version), tally in list(self._tallies.items()):
            del self._tallies[model, version]
            try:
                await store.add_shadow(model, version, tally, clock())
            except LedgerUnavailable as error:
                self._tally(model, version).add_all(tally)
                _log.debug("counts of the shadow wait for Redis: %s", error)

    def _compare(self, shadow: Classifier, query: Query, decided: Prediction) -> None:
        tally = self._tally(query.model, shadow.version)
        started_s = time.perf_counter()
        try:
            prior = classification(shadow, decided.prior.features)
        except ClassifierError as error:
            _log.warning("the shadow %s failed: %s", shadow.version, error)
            tally.add_failure()
            self._telemetry.count_shadow_failure()
            return
        duration_s = time.perf_counter() - started_s
        predicted = self._predictions.predict(segment_of(query, prior), prior)
        limits = self._limits.of(query)
        try:
            tier, other = (self._tier(query, found, limits) for found in (decided, predicted))
        except RouterError:
            return  # the deadline came so near that no tier is left to compare
        tally.add(tier, other, round(duration_s * 1e6))
        self._telemetry.record_shadow(tier, other, duration_s)

    def _tier(self, query: Query, prediction: Prediction, limits: Limits) -> Tier.ValueType:
        choice = policy.choose(
            query.wish, prediction.curve, limits, self._policy_of(query.model), _NO_EXPLORATION
        )
        return choice.tier

    def _tally(self, model: str, version: str) -> ShadowTally:
        return self._tallies.setdefault((model, version), ShadowTally())
