"""The ids and the vector: fixed for ever within a feature version, finite for any text."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.features import (
    FEATURE_VERSION,
    MAX_SCANNED_BYTES,
    NUM_BUCKETS,
    NUM_FEATURES,
    NUM_LEXICAL,
    encode,
    vectorize,
)
from classifier.lexical import LEXICAL_NAMES

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates included


def lexical(prompt: str) -> dict[str, float]:
    return dict(zip(LEXICAL_NAMES, vectorize(encode(prompt)).tolist(), strict=False))


def test_ids_of_a_known_prompt_never_change():
    ids = encode("Reach 24 using 3, 5.5 and 1,000 once — ¿cuánto?\n1. Prove it.")

    assert ids.tolist() == GOLDEN_IDS


@given(ANY_TEXT)
def test_any_text_gives_finite_features_that_fit_a_trace(prompt: str):
    ids = encode(prompt).tolist()
    vector = vectorize(ids)

    assert all(0 <= value < 2**32 for value in ids)
    assert vector.shape == (NUM_FEATURES,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


@given(ANY_TEXT)
def test_hashed_part_is_bounded_however_long_the_prompt(prompt: str):
    hashed = vectorize(encode(prompt * 50))[NUM_LEXICAL:]

    assert np.linalg.norm(hashed) <= 1.0 + 1e-6


def test_values_of_numbers_do_not_reach_the_hashed_part():
    left, right = encode("add 12 and 7"), encode("add 99 and 3")

    assert left[1 + NUM_LEXICAL :].tolist() == right[1 + NUM_LEXICAL :].tolist()
    assert left.tolist() != right.tolist()


def test_numbers_are_read_with_separators_and_without_list_markers():
    features = lexical("Sum of 1,200 and 2.5:\n1. show steps\n2) be brief")

    assert np.expm1(features["log_numbers"]) == pytest.approx(2, abs=0.01)
    assert np.expm1(features["log_largest"]) == pytest.approx(1200, rel=0.01)
    assert np.expm1(features["log_list_items"]) == pytest.approx(2, abs=0.01)
    assert features["decimal_share"] == 0.5


def test_huge_numbers_are_capped():
    assert lexical("9" * 5000)["log_largest"] == pytest.approx(np.log1p(1e18), abs=0.01)


def test_long_prompt_is_read_at_both_ends_only():
    filler = "word " * MAX_SCANNED_BYTES
    ends = encode(f"prove {filler} 7").tolist()
    middle = encode(f"{filler} prove 7 {filler}").tolist()

    names = LEXICAL_NAMES.index("log_prove_words"), LEXICAL_NAMES.index("log_numbers")
    assert all(ends[1 + name] > 0 for name in names)
    assert all(middle[1 + name] == 0 for name in names)


@pytest.mark.parametrize(
    "ids",
    [
        [],
        [FEATURE_VERSION],
        [FEATURE_VERSION + 1] + [0] * NUM_LEXICAL,
        [FEATURE_VERSION] + [0] * NUM_LEXICAL + [2 * NUM_BUCKETS],
        [FEATURE_VERSION] + [0] * NUM_LEXICAL + [-1],
        [FEATURE_VERSION] + [2**70] * NUM_LEXICAL,
    ],
    ids=["empty", "short", "other-version", "bucket-too-large", "negative", "huge"],
)
def test_ids_of_another_making_are_refused(ids: list[int]):
    with pytest.raises(ValueError, match="features"):
        vectorize(ids)


def test_serving_imports_no_training_package():
    code = (
        "import classifier.predictor, sys; "
        "print({'sklearn', 'scipy', 'torch', 'onnx', 'skl2onnx', 'tqdm'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"


# fmt: off
GOLDEN_IDS = [
    1, 4275, 2901, 710, 710, 1435, 710, 0, 0, 0, 0, 1125, 1420, 0, 160, 32,
    112, 710, 0, 710, 0, 0, 0, 0, 0, 0, 710, 0, 0, 1648, 7075, 3296,
    1420, 7107, 992, 1024, 512, 0, 256, 1024, 1024, 1024, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 710, 710, 0, 0, 0, 710, 0, 0, 710, 40, 322, 332,
    397, 462, 526, 531, 641, 716, 773, 778, 938, 1016, 1018, 1068, 1128, 1132, 1173, 1229,
    1233, 1614, 1654, 1702, 1742, 1764, 1779, 1820, 1841, 1977,
]
