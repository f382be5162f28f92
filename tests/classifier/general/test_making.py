"""From a collection to a served file and its card."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from classifier.bench.controls import GENERAL, LENGTH, trained
from classifier.bench.predict import predict
from classifier.bench.tables import as_report, below_length
from classifier.bench.unseen import leave_out
from classifier.errors import DatasetError
from classifier.export import check_parity, export
from classifier.general.card import card
from classifier.general.collected import Collection
from classifier.general.labels import hazard_bounds
from classifier.general.train import fit
from classifier.predictor import DifficultyClassifier


@pytest.fixture(scope="module")
def collection(collection_dir):
    return Collection.read(collection_dir)


@pytest.fixture(scope="module")
def model(collection):
    return fit(collection)


@pytest.fixture(scope="module")
def unseen(collection):
    return leave_out(collection, trained(), lambda line: None, limit=1)


def test_equal_data_give_equal_files(collection, model):
    assert export(fit(collection), "any model", 1) == export(model, "any model", 1)


def test_no_hazard_leaves_the_labels(collection, model):
    hazards = model.hazards(collection.features)
    lowest, highest = hazard_bounds()

    assert (hazards >= lowest - 1e-9).all()
    assert (hazards <= highest + 1e-9).all()


def test_the_graph_computes_what_was_trained_and_is_served(collection, model, tmp_path):
    serialized = export(model, "any model", len(collection))
    path = tmp_path / "difficulty.onnx"
    path.write_bytes(serialized)
    served = DifficultyClassifier.load(path)

    assert check_parity(serialized, model, collection.features) <= 1e-5
    expected = model.hazards(collection.features[:1])[0]
    assert np.allclose(served.predict(collection.prompts[0]), expected, atol=1e-5)


def test_the_card_states_the_measured_figures(collection, model, unseen, tmp_path):
    path = tmp_path / "difficulty.onnx"
    path.write_bytes(export(model, "any model", len(collection)))
    served = DifficultyClassifier.load(path)

    text = card(served, unseen, collection, 1e-7)

    assert served.version in text
    for predictor in (GENERAL, LENGTH, "TF-IDF", "constant"):
        for measure in ("tier_exact", "tau"):
            assert str(unseen.mean(predictor, measure)) in text
    assert "keyword routers were not measured" in text


def test_the_bench_prints_each_row_on_one_line(collection_dir):
    result = CliRunner().invoke(predict, ["--general", "--data", str(collection_dir), "--quick"])

    assert result.exit_code == 0, result.output
    assert "without --peers the keyword routers are left out" in result.output
    rows = [line for line in result.output.splitlines() if line.startswith("| general ")]
    assert [row.count("|") for row in rows] == [7, 4]


def test_every_kind_of_split_is_reported_with_its_controls(unseen):
    report = as_report(unseen, {})

    assert [split.name for split in unseen.by_source] == ["first set", "measured"]
    assert report.figures["tier_exact_out"] > report.controls["constant.tier_exact_out"]
    assert report.figures["tau_out"] > 0.2
    low, high = report.intervals["tau_out"]
    assert low < report.figures["tau_out"] < high
    assert report.figures["splits_below_length"] == len(below_length(unseen))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tier", "hard", "tier must be one of simple"),
        ("prompt", None, "prompt is missing"),
        ("source", 3, "source is missing"),
    ],
)
def test_a_bad_row_is_named(field, value, message, tmp_path):
    row = {"prompt": "hi", "tier": "simple", "source": "ours"} | {field: value}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "outcomes.jsonl").write_text("", encoding="utf-8")

    with pytest.raises(DatasetError, match=rf"prompts\.jsonl:1: {message}"):
        Collection.read(tmp_path)
