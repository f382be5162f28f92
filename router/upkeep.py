"""Keeps the classifiers of all served models in order: rollouts, rollbacks, counts of shadows."""

import asyncio
from collections.abc import Callable, Sequence

from ponder.classifiers import ClassifierStore
from ponder.ledger import Ledger
from router.classification import Classifying
from router.config import RouterConfig
from router.guard import GuardConfig, Tally
from router.rollback import Rollback
from router.rollouts import Prepare, Rollouts
from router.shadowing import Shadowing
from router.telemetry import Telemetry


class ClassifierUpkeep:
    """Looks at the store again and again, beside the requests."""

    def __init__(
        self,
        store: ClassifierStore,
        rollouts: Rollouts,
        rollback: Rollback,
        shadowing: Shadowing,
    ) -> None:
        self._store = store
        self._rollouts = rollouts
        self._rollback = rollback
        self._shadowing = shadowing

    async def run(self, models: Callable[[], Sequence[str]], interval_s: float) -> None:
        """Until cancelled."""
        while True:
            await self.look(models())
            await asyncio.sleep(interval_s)

    async def look(self, models: Sequence[str]) -> None:
        """One round. With Redis gone nothing changes."""
        for model in models:
            if rollout := await self._rollouts.refresh(model):
                await self._rollback.review(model, rollout)
            self._rollouts.show(model)
        await self._shadowing.write(self._store)


def open_upkeep(
    config: RouterConfig,
    ledger: Ledger,
    classifying: Classifying,
    prepare: Prepare,
    shadowing: Shadowing,
    telemetry: Telemetry,
) -> ClassifierUpkeep:
    """The upkeep of a router, over the store beside its ledger."""

    async def read_tally(model: str, version: str, now_s: float) -> Tally:
        return (await ledger.read_outcomes(model, version, now_s)).total

    store = ClassifierStore.beside(ledger)
    guard = GuardConfig(tolerance=config.rollback_tolerance)
    name = f"router {config.listen}"
    return ClassifierUpkeep(
        store,
        Rollouts(store, classifying, prepare, telemetry),
        Rollback(store, read_tally, classifying, guard, telemetry, name),
        shadowing,
    )
