"""Follows the rollout of each model: loads what it names, and swaps it in between two requests.

Runs in the background; no request ever waits for it. Whatever cannot be read or trusted is named
in the log and leaves what serves as it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from ponder.classifiers import MAX_BYTES, ClassifierStore
from ponder.ledger import LedgerUnavailable
from ponder.rollout import FILES, Rollout, RolloutError
from router.classification import Classifying
from router.serving import Classifier, Serving
from router.telemetry import Telemetry

_log = logging.getLogger(__name__)
_Loaded = dict[str, Classifier]
Prepare = Callable[[str, Sequence[str]], Awaitable[None]]
"""From a model and the versions that will decide."""


class Rollouts:
    """Keeps `classifying` at what the store says."""

    def __init__(
        self,
        store: ClassifierStore,
        classifying: Classifying,
        prepare: Prepare,
        telemetry: Telemetry,
    ) -> None:
        """`prepare` is awaited before a version decides for the first time."""
        self._store = store
        self._classifying = classifying
        self._prepare = prepare
        self._telemetry = telemetry
        self._applied: dict[str, Rollout] = {}
        self._loaded: dict[str, _Loaded] = {}
        self._said: dict[str, str] = {}

    async def refresh(self, model: str) -> Rollout | None:
        """The rollout that is served, None when nothing is rolled out or nobody can tell.

        With Redis gone, or emptied, what is loaded stays.
        """
        try:
            rollout = await self._store.read_rollout(model)
            if rollout is None:
                self._end_trials(model)
            elif rollout != self._applied.get(model):
                await self._apply(model, rollout)
            self._said.pop(model, None)
            return rollout
        except RolloutError as error:
            if self._is_news(model, str(error)):
                self._refuse(model, str(error))
        except LedgerUnavailable as error:
            if self._is_news(model, "unreadable"):
                _log.warning("classifier of %s stays, no rollout to be read: %s", model, error)
        return None

    def show(self, model: str) -> None:
        """In metrics: who decides now, and who only watches."""
        parts = _parts(self._classifying.serving(model))
        versions = {role: classifier.version for role, classifier in parts.items()}
        self._telemetry.show_serving(model, versions)

    async def _apply(self, model: str, rollout: Rollout) -> None:
        """A version that cannot be loaded is refused once per change: the champion before it goes
        on, a canary or a shadow is left out.
        """
        loaded = await self._load_all(model, rollout.versions)
        before = self._classifying.serving(model)
        champion = loaded.get(rollout.champion, before.champion)
        if rollout.champion == FILES:
            champion = self._classifying.of_files(model)
        serving = Serving(
            champion=champion,
            canary=loaded.get(rollout.canary),
            canary_share=rollout.canary_share,
            shadow=loaded.get(rollout.shadow),
        )
        await self._prepare(model, serving.versions)
        self._classifying.serve(model, serving)
        self._loaded[model], self._applied[model] = loaded, rollout
        _log.info("classifier of %s: %s", model, _in_words(serving))

    async def _load_all(self, model: str, versions: Iterable[str]) -> _Loaded:
        """The champion before this one too, so that a rollback never depends on the store."""
        known, loaded = self._loaded.get(model, {}), {}
        for version in sorted(versions):
            try:
                loaded[version] = known.get(version) or await self._load(model, version)
            except ClassifierError as error:
                self._refuse(model, f"version {version}: {error}")
        return loaded

    async def _load(self, model: str, version: str) -> Classifier:
        serialized = await self._store.read_bytes(model, version)
        if serialized is None:
            raise ClassifierError("not in the store")
        return await asyncio.to_thread(load_version, serialized, model, version)

    def _end_trials(self, model: str) -> None:
        """The store lost its rollout: nobody watches over a canary any more."""
        if self._applied.pop(model, None):
            champion = self._classifying.serving(model).champion
            self._classifying.serve(model, Serving(champion=champion))
            _log.warning("the rollout of %s is gone from Redis: its champion stays", model)

    def _is_news(self, model: str, complaint: str) -> bool:
        """Whether it was not said yet since the rollout was read well."""
        is_news = self._said.get(model) != complaint
        self._said[model] = complaint
        return is_news

    def _refuse(self, model: str, complaint: str) -> None:
        self._telemetry.count_refused_classifier()
        _log.warning("classifier of %s refused, what serves stays: %s", model, complaint)


def load_version(serialized: bytes, model: str, version: str) -> DifficultyClassifier:
    """Checks it like a file, and that it is what it is said to be. Raises ClassifierError."""
    if len(serialized) > MAX_BYTES:
        raise ClassifierError(f"{len(serialized)} bytes, at most {MAX_BYTES} are loaded")
    try:
        loaded = DifficultyClassifier.from_bytes(serialized)
    except ClassifierError:
        raise
    except Exception as error:  # whatever foreign bytes provoke, the router goes on
        raise ClassifierError(f"not a readable classifier: {error!r}") from error
    if loaded.model != model:
        raise ClassifierError(f"it predicts for the model {loaded.model}")
    if loaded.version != version:
        raise ClassifierError(f"its contents are those of version {loaded.version}")
    return loaded


def _in_words(serving: Serving) -> str:
    words = (f"{role} {classifier.version}" for role, classifier in _parts(serving).items())
    return ", ".join(words) or "none"


def _parts(serving: Serving) -> dict[str, Classifier]:
    parts = {"champion": serving.champion, "canary": serving.canary, "shadow": serving.shadow}
    return {role: classifier for role, classifier in parts.items() if classifier}
