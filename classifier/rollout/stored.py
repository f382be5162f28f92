"""Files of versions as the store has them, for the commands that compare with what serves."""

from classifier.errors import ClassifierError
from ponder.classifiers import ClassifierStore
from ponder.rollout import FILES


async def read_champion(store: ClassifierStore, model: str) -> bytes | None:
    """The file of the version that serves; None where the routers' own files do.

    Raises ClassifierError when it is not kept, RolloutError, LedgerUnavailable.
    """
    rollout = await store.read_rollout(model)
    if rollout is None or rollout.champion == FILES:
        return None
    return await read_version(store, model, rollout.champion)


async def read_version(store: ClassifierStore, model: str, version: str) -> bytes:
    """Raises ClassifierError when it is not kept, LedgerUnavailable."""
    serialized = await store.read_bytes(model, version)
    if serialized is None:
        raise ClassifierError(f"version {version} of {model} is not in the store: add it again")
    return serialized
