"""Classifiers of other contents, and the store of a running router as an operator uses it."""

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import numpy_helper

from classifier.metadata import BLANK_VERSION, content_version
from classifier.predictor import DifficultyClassifier
from ponder import keys
from ponder.classifiers import ClassifierStore, VersionRecord
from ponder.rollout import Rollout
from tests.router.small_worker import MODEL

Change = Callable[[onnx.ModelProto], None]


def made_for(serialized: bytes, model: str, change: Change = lambda proto: None) -> bytes:
    """The classifier of the fixture under the name of another reasoning model, after a change."""
    proto = onnx.load_from_string(serialized)
    change(proto)
    properties = {item.key: item for item in proto.metadata_props}
    metadata, version = properties["ponder.classifier"], properties["ponder.version"]
    metadata.value = metadata.value.replace('"oracle"', f'"{model}"')
    version.value = BLANK_VERSION
    version.value = content_version(proto.SerializeToString(deterministic=True))
    return proto.SerializeToString(deterministic=True)


def with_intercepts_moved(by: float) -> Change:
    """Higher ones predict that the thinking stops sooner."""

    def change(proto: onnx.ModelProto) -> None:
        tensor = next(item for item in proto.graph.initializer if item.name == "intercepts")
        moved = numpy_helper.to_array(tensor) + numpy_helper.to_array(tensor).dtype.type(by)
        tensor.CopyFrom(numpy_helper.from_array(moved, "intercepts"))

    return change


def with_an_output_renamed(proto: onnx.ModelProto) -> None:
    proto.graph.output[2].name = "label"
    proto.graph.node[-1].output[0] = "label"


class Operator:
    """Changes what a store holds for MODEL."""

    def __init__(self, store: ClassifierStore) -> None:
        self.store = store

    async def add(self, serialized: bytes, version: str | None = None) -> str:
        """Without any check; under a wrong version if one is given."""
        version = version or DifficultyClassifier.from_bytes(serialized).version
        record = VersionRecord(added_at_s=1.0, added_by="test", training_rows=1)
        await self.store.add(MODEL, version, serialized, record)
        return version

    async def change(self, change: Callable[[Rollout], Rollout]) -> Rollout:
        """Returns what is in the store after it."""
        before = await self.store.read_rollout(MODEL) or Rollout()
        assert await self.store.change(
            MODEL, change(before), action="change", reason="", changed_by="test"
        )
        after = await self.store.read_rollout(MODEL)
        assert after is not None
        return after

    async def promote(self, version: str, now_s: float = 0.0) -> Rollout:
        return await self.change(lambda rollout: rollout.promoted(version, now_s))


async def count_outcomes(client: Any, version: str, now_s: float, tally: Mapping[str, int]) -> None:
    """As if so many requests of tier simple had been settled: d, m, and e in millionths."""
    key = keys.outcomes(MODEL, version, None, int(now_s // 3_600) * 3_600)
    for kind, count in tally.items():
        await client.hincrby(key, f"1:{kind}", count)
