"""The served classifier: one ONNX graph on one CPU thread. The router calls it for every request.

Needs numpy and onnxruntime, neither scikit-learn nor torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from classifier.drift.stability import Reference
from classifier.errors import ClassifierError
from classifier.features import NUM_FEATURES, encode, vectorize
from classifier.metadata import (
    INPUT_NAME,
    OUTPUT_NAMES,
    REFERENCE_KEY,
    Metadata,
    checked_version,
)
from ponder.bins import NUM_NEED_BINS

_WARM_UP_PROMPTS = ("", "What is 2 + 2?", "Prove that there are infinitely many primes.")


class DifficultyClassifier:
    """Predicts from a prompt, bin by bin, whether the thinking would stop there by itself."""

    def __init__(
        self,
        session: Any,
        version: str,
        metadata: Metadata,
        reference: Reference | None = None,
    ) -> None:
        """Checks the graph's shapes and runs it once. Raises ClassifierError."""
        self._session = session
        self._version = version
        self._metadata = metadata
        self._reference = reference
        self._check_signature()
        for prompt in _WARM_UP_PROMPTS:
            self.predict(prompt)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ClassifierError, naming the file, when it cannot be read or trusted."""
        try:
            return cls.from_bytes(path.read_bytes())
        except OSError as error:
            raise ClassifierError(f"{path}: {error.strerror or error}") from error
        except ClassifierError as error:
            raise ClassifierError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, serialized: bytes) -> Self:
        """The same from the contents of a file; blocks for some milliseconds."""
        session = _open_session(serialized)
        properties = session.get_modelmeta().custom_metadata_map
        version = checked_version(serialized, properties)
        written = properties.get(REFERENCE_KEY)
        reference = Reference.from_json(written) if written else None
        return cls(session, version, Metadata.from_properties(properties), reference)

    @property
    def version(self) -> str:
        """Hash of the file's contents, 16 hexadecimal digits."""
        return self._version

    @property
    def model(self) -> str:
        """Name of the reasoning model whose need it predicts."""
        return self._metadata.model

    @property
    def metadata(self) -> Metadata:
        return self._metadata

    @property
    def reference(self) -> Reference | None:
        """What its traffic looked like when it was trained; older files do not say."""
        return self._reference

    def features(self, prompt: str) -> tuple[int, ...]:
        """What a trace stores of a prompt: unsigned 32-bit ids, from which training can work."""
        return tuple(encode(prompt).tolist())

    def predict(self, prompt: str) -> NDArray[np.float32]:
        """Hazards (NUM_NEED_BINS,). Raises ClassifierError instead of returning a wrong number."""
        return self.predict_vector(vectorize(encode(prompt)))

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The same from the ids of `features`. Raises ClassifierError for ids of another making."""
        try:
            return self.predict_vector(vectorize(ids))
        except ValueError as error:
            raise ClassifierError(str(error)) from error

    def predict_vector(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same from a feature vector (NUM_FEATURES,)."""
        try:
            (output,) = self._session.run([OUTPUT_NAMES[0]], {INPUT_NAME: vector[np.newaxis]})
        except Exception as error:  # the runtime's exceptions share no base class
            raise ClassifierError(f"the graph failed: {error}") from error
        if output.shape != (1, NUM_NEED_BINS) or output.dtype != np.float32:
            raise ClassifierError(f"hazards are {output.dtype} {output.shape}: train it again")
        hazards: NDArray[np.float32] = output[0]
        if not ((hazards >= 0) & (hazards <= 1)).all():  # false for NaN
            raise ClassifierError("hazards are not probabilities: train it again")
        return hazards

    def _check_signature(self) -> None:
        inputs = [(node.name, list(node.shape[1:])) for node in self._session.get_inputs()]
        if inputs != [(INPUT_NAME, [NUM_FEATURES])]:
            raise ClassifierError(f"inputs are {inputs}, not {INPUT_NAME} of {NUM_FEATURES}")
        outputs = [node.name for node in self._session.get_outputs()]
        if outputs != list(OUTPUT_NAMES):
            raise ClassifierError(f"outputs are {outputs}, not {list(OUTPUT_NAMES)}")


def _open_session(serialized: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors arrive as exceptions
    try:
        # Named because the GPU build would otherwise try CUDA first.
        return onnxruntime.InferenceSession(
            serialized, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ClassifierError(f"not a readable ONNX graph: {error}") from error
