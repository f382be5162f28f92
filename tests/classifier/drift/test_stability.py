"""PSI: what is drawn alike is rarely reported, what has moved is, and files without it load."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.drift.stability import ALARM_PSI, WARN_PSI, Binned, Reference
from classifier.errors import ClassifierError
from classifier.export import export
from classifier.predictor import DifficultyClassifier

values = st.lists(st.floats(0.0, 1e4) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


def test_psi_is_what_its_definition_says():
    binned = Binned.of(np.repeat(np.arange(10.0), 10))
    recent = np.repeat(np.arange(10.0), 10)
    recent[:10] = 9.0

    now, before = np.full(10, 10.5 / 105), np.full(10, 10.5 / 105)
    now[0], now[9] = 0.5 / 105, 20.5 / 105
    assert binned.psi(recent) == pytest.approx(((now - before) * np.log(now / before)).sum())


@given(values, values)
def test_it_is_never_below_0_and_0_for_the_same_rows(reference, recent):
    binned = Binned.of(np.array(reference))

    assert binned.psi(np.array(recent)) >= 0.0
    assert binned.psi(np.array(reference)) == pytest.approx(0.0)
    assert binned.num_rows == len(reference)


def test_resamples_are_rarely_above_chance_and_chance_is_not_far_above_them():
    rng = np.random.default_rng(1)
    binned = Binned.of(rng.lognormal(size=2_000))
    found = np.array([binned.psi(rng.lognormal(size=200)) for _ in range(1_000)])

    # One comparison: 1 of 1,000 is expected above it.
    assert (found > binned.chance(200, 1)).sum() <= 5
    assert (found > 0.6 * binned.chance(200, 1)).any()
    assert found.mean() < WARN_PSI


def test_a_value_that_never_varied_is_compared_too():
    binned = Binned.of(np.zeros(500))

    assert binned.psi(np.zeros(300)) < 0.01
    assert binned.psi(np.ones(300)) > ALARM_PSI


def test_a_shift_by_a_deviation_is_large():
    rng = np.random.default_rng(2)
    binned = Binned.of(rng.normal(size=2_000))

    assert binned.psi(rng.normal(1.0, size=300)) > ALARM_PSI


@pytest.fixture
def reference(model, dataset):
    held_out = dataset.rows(dataset.splits != "train")
    return Reference.of(held_out.features, model.hazards(held_out.features))


def test_a_reference_survives_json(reference):
    assert Reference.from_json(reference.to_json()) == reference
    assert len(reference.to_json()) < 50_000


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"a":{}}', '{"a":{"edges":[1],"counts":[1]}}'])
def test_anything_else_is_refused(line):
    with pytest.raises(ClassifierError, match="reference for drift"):
        Reference.from_json(line)


def test_a_classifier_carries_its_reference_and_one_without_loads(
    model, reference, serialized, tmp_path
):
    carrying, without = tmp_path / "a.onnx", tmp_path / "b.onnx"
    carrying.write_bytes(export(model, "oracle", 7, reference))
    without.write_bytes(serialized)

    assert DifficultyClassifier.load(carrying).reference == reference
    assert DifficultyClassifier.load(without).reference is None


def test_the_reference_is_part_of_what_the_version_names(model, reference, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(export(model, "oracle", 7, reference).replace(b"log_bytes", b"log_byteZ"))

    with pytest.raises(ClassifierError, match="do not match its version"):
        DifficultyClassifier.load(path)
