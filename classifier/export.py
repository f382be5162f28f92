"""The trained model as one ONNX graph, checked against what was trained before it is handed out.

    features (N, NUM_FEATURES) -> scale, clip -> logits -> hazards  = sigmoid(logits)
                                                           survival = exp(-cumsum(softplus(logits)))
                                                           tier     = smallest that suffices

The logits of a model with bounds are kept within them.

The graph is written node by node, so nothing has to be converted. Its input is the
feature vector and not the prompt: the tokenising operators of ONNX fold case by locale and split
words by another grammar than Python's, and traces without prompts have features only.
"""

from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from classifier.drift.stability import Reference
from classifier.errors import ExportError
from classifier.features import FEATURE_VERSION, NUM_FEATURES
from classifier.hazards import MAX_DEVIATIONS, HazardModel
from classifier.metadata import (
    INPUT_NAME,
    OUTPUT_NAMES,
    REFERENCE_KEY,
    Metadata,
    content_version,
)
from classifier.survival import COVERAGE, TIER_BINS, smallest_sufficient_tier, survival_of
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

MIN_PARITY_ROWS: Final = 1000
PARITY_TOLERANCE: Final = 1e-5

# Old enough for every onnxruntime since 1.12, new enough for all operators used.
_OPSET: Final = 17
_IR_VERSION: Final = 8


def export(
    model: HazardModel, name: str, training_rows: int, reference: Reference | None = None
) -> bytes:
    """Serialized graph for the reasoning model `name`; equal inputs give equal bytes.

    `reference`, of rows that it was not trained on, is what `ponder traces drift` compares with.
    """
    metadata = Metadata(
        model=name,
        feature_version=FEATURE_VERSION,
        num_features=NUM_FEATURES,
        need_bin_edges=NEED_BIN_EDGES,
        training_rows=training_rows,
        regularisation=model.regularisation,
        bins=model.fits,
    )
    proto = helper.make_model(
        _graph(model),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="ponder",
    )
    properties = {REFERENCE_KEY: reference.to_json()} if reference else {}
    blank = _serialize(proto, properties | metadata.to_properties())
    return _serialize(proto, properties | metadata.to_properties(content_version(blank)))


def check_parity(serialized: bytes, model: HazardModel, features: NDArray[np.float32]) -> float:
    """Largest difference between the graph and the trained model on rows (>= MIN_PARITY_ROWS).

    Raises ExportError when it is above PARITY_TOLERANCE, or when there are too few rows.
    """
    if len(features) < MIN_PARITY_ROWS:
        raise ExportError(
            f"{len(features)} held-out rows to compare on, {MIN_PARITY_ROWS} are needed: "
            "collect more traces"
        )
    session = onnxruntime.InferenceSession(serialized, providers=["CPUExecutionProvider"])
    hazards, survival, tier = session.run(list(OUTPUT_NAMES), {INPUT_NAME: features})
    expected = model.hazards(features)
    differences = (np.abs(hazards - expected), np.abs(survival - survival_of(expected)))
    largest = float(np.max(differences))
    if not largest <= PARITY_TOLERANCE:  # true for NaN
        raise ExportError(
            f"the graph differs from what was trained by {largest:.2g}: do not ship it"
        )
    if (tier != smallest_sufficient_tier(survival)).any():
        raise ExportError("the tier of the graph does not follow from its survival: do not ship it")
    return largest


def _graph(model: HazardModel) -> onnx.GraphProto:
    tensor = helper.make_tensor_value_info
    return helper.make_graph(
        _nodes(is_bounded=model.bounds is not None),
        "difficulty",
        [tensor(INPUT_NAME, TensorProto.FLOAT, ["N", NUM_FEATURES])],
        [
            tensor("hazards", TensorProto.FLOAT, ["N", NUM_NEED_BINS]),
            tensor("survival", TensorProto.FLOAT, ["N", NUM_NEED_BINS]),
            tensor("tier", TensorProto.INT64, ["N"]),
        ],
        [numpy_helper.from_array(array, key) for key, array in _constants(model).items()],
    )


def _constants(model: HazardModel) -> dict[str, NDArray[np.generic]]:
    weights, intercepts = model.parameters()
    return {
        "center": model.scaling.center,
        "spread": model.scaling.spread,
        "lowest": np.array(-MAX_DEVIATIONS, dtype=np.float32),
        "highest": np.array(MAX_DEVIATIONS, dtype=np.float32),
        "weights": weights.astype(np.float32),
        "intercepts": intercepts.astype(np.float32),
        "bin_axis": np.array(1, dtype=np.int64),
        "tier_bins": np.array(TIER_BINS[:-1], dtype=np.int64),
        "allowed": np.array(1.0 - COVERAGE, dtype=np.float32),
        "tier_axes": np.array([1], dtype=np.int64),
        **_bounds(model),
    }


def _bounds(model: HazardModel) -> dict[str, NDArray[np.generic]]:
    if model.bounds is None:
        return {}
    logits = (np.log(hazards / (1.0 - hazards)) for hazards in model.bounds)
    names = ("lowest_logits", "highest_logits")
    return {name: bound.astype(np.float32) for name, bound in zip(names, logits, strict=True)}


def _nodes(*, is_bounded: bool) -> list[onnx.NodeProto]:
    node = helper.make_node
    bounding = [
        node("Max", ["free_logits", "lowest_logits"], ["low_logits"]),
        node("Min", ["low_logits", "highest_logits"], ["logits"]),
    ]
    return [
        node("Sub", [INPUT_NAME, "center"], ["centered"]),
        node("Div", ["centered", "spread"], ["scaled"]),
        node("Clip", ["scaled", "lowest", "highest"], ["clipped"]),
        node(
            "Gemm",
            ["clipped", "weights", "intercepts"],
            ["free_logits" if is_bounded else "logits"],
        ),
        *(bounding if is_bounded else ()),
        node("Sigmoid", ["logits"], ["hazards"]),
        node("Softplus", ["logits"], ["losses"]),
        node("CumSum", ["losses", "bin_axis"], ["cumulated"]),
        node("Neg", ["cumulated"], ["log_survival"]),
        node("Exp", ["log_survival"], ["survival"]),
        node("Gather", ["survival", "tier_bins"], ["tier_survival"], axis=1),
        node("Greater", ["tier_survival", "allowed"], ["misses"]),
        node("Cast", ["misses"], ["num_misses"], to=TensorProto.INT64),
        node("ReduceSum", ["num_misses", "tier_axes"], ["tier"], keepdims=0),
    ]


def _serialize(proto: onnx.ModelProto, properties: dict[str, str]) -> bytes:
    del proto.metadata_props[:]
    helper.set_model_props(proto, properties)
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)
