"""Which classifier decides which request of one model: a champion, a canary for a share. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

_SLICES: Final = 10_000


class Classifier(Protocol):
    """What the router needs of classifier.predictor.DifficultyClassifier."""

    @property
    def version(self) -> str: ...

    def features(self, prompt: str) -> tuple[int, ...]: ...

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The classifiers of one model; replaced as a whole, so that a request sees one state.

    The canary decides `canary_share` of the requests, 0 to 1; the shadow decides none.
    """

    champion: Classifier | None = None
    canary: Classifier | None = None
    canary_share: float = 0.0
    shadow: Classifier | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """Of those that decide."""
        return tuple(found.version for found in (self.champion, self.canary) if found)

    def deciding(self, request_id: str) -> Classifier | None:
        """The same for the same id, on every router. None: nothing can be predicted."""
        if self.canary and slice_of(request_id) < self.canary_share * _SLICES:
            return self.canary
        return self.champion


def slice_of(request_id: str) -> int:
    """0 to 9,999, as good as uniform over ids whatever they look like."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % _SLICES
