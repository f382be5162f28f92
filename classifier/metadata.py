"""What the ONNX file says about itself. Written by export.py, checked by predictor.py."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from classifier.errors import ClassifierError
from classifier.features import FEATURE_VERSION, NUM_FEATURES
from ponder.bins import NEED_BIN_EDGES

INPUT_NAME: Final = "features"
OUTPUT_NAMES: Final = ("hazards", "survival", "tier")

REFERENCE_KEY: Final = "ponder.reference"
"""Where export.py keeps a classifier.drift.stability.Reference. Files before it have none."""

_KEY: Final = "ponder.classifier"
_VERSION_KEY: Final = "ponder.version"
_VERSION_DIGITS: Final = 16
BLANK_VERSION: Final = "0" * _VERSION_DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class BinFit:
    """What a bin was learned from; `fitted` is false where its hazard is one constant."""

    events: int
    at_risk: int
    fitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """For which reasoning model, features and bins the graph was made, and from how many rows."""

    model: str
    feature_version: int
    num_features: int
    need_bin_edges: tuple[int, ...]
    training_rows: int
    regularisation: float
    bins: tuple[BinFit, ...]

    def to_properties(self, version: str = BLANK_VERSION) -> dict[str, str]:
        """As ONNX metadata, the same bytes for the same contents."""
        return {_KEY: json.dumps(asdict(self), sort_keys=True), _VERSION_KEY: version}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Self:
        """Raises ClassifierError when the metadata is missing, incomplete or not for this code."""
        try:
            record: dict[str, Any] = json.loads(properties[_KEY])
            record["bins"] = tuple(BinFit(**fit) for fit in record["bins"])
            record["need_bin_edges"] = tuple(record["need_bin_edges"])
            metadata = cls(**record)
        except (KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                f"not a classifier of this project: metadata {error!r}"
            ) from error
        metadata._check()
        return metadata

    def _check(self) -> None:
        expected = {
            "feature_version": (self.feature_version, FEATURE_VERSION),
            "num_features": (self.num_features, NUM_FEATURES),
            "need_bin_edges": (self.need_bin_edges, NEED_BIN_EDGES),
        }
        for name, (found, wanted) in expected.items():
            if found != wanted:
                raise ClassifierError(
                    f"{name} is {found}, this code needs {wanted}: train it again"
                )


def content_version(serialized: bytes, written: str = BLANK_VERSION) -> str:
    """Hash of a serialized graph, computed as if the version `written` in it were blank."""
    blank = serialized.replace(written.encode(), BLANK_VERSION.encode())
    return hashlib.sha256(blank).hexdigest()[:_VERSION_DIGITS]


def checked_version(serialized: bytes, properties: Mapping[str, str]) -> str:
    """The version of a file that was read. Raises ClassifierError when its bytes were changed."""
    version = properties.get(_VERSION_KEY, "")
    if len(version) != _VERSION_DIGITS or content_version(serialized, version) != version:
        raise ClassifierError(f"its contents do not match its version {version!r}: copy it again")
    return version
