"""Synthetic traces, whose truth is known, and the training that is timed on them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from classifier.bench.synthetic import MODEL, Bank, judged, write_parts
from classifier.columns import Columns
from classifier.evaluate import log_loss
from classifier.general.__main__ import SHIPPED
from classifier.predictor import DifficultyClassifier
from classifier.readers import read_columns
from classifier.traces.parquet import num_parquet_rows
from ponder.cli import main


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.of(300, DifficultyClassifier.load(SHIPPED))


def test_parts_hold_as_many_traces_as_were_asked_for(bank, tmp_path):
    write_parts(bank, tmp_path, 25_000, seed=1)

    rows = Columns.joined(list(read_columns(tmp_path, MODEL)))
    assert len(rows) == num_parquet_rows(tmp_path, MODEL) == 25_000
    assert (rows.thinking_tokens <= rows.budget_tokens).all()
    assert (rows.thinking_tokens >= 1).all()


def test_nothing_predicts_the_needs_better_than_their_truth(bank):
    data, truth = judged(bank, 20_000, seed=2)

    own = log_loss(truth, data)
    for factor in (0.8, 0.95, 1.05, 1.2):
        assert own < log_loss(np.minimum(truth * factor, 1.0), data)


def test_the_report_times_a_training_and_compares_it_with_the_truth():
    result = CliRunner().invoke(main, ["bench", "retrain", "--quick", "--json", "-"])

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    figures, controls = report["figures"], report["controls"]
    assert figures["processor_s/20000"] > 0
    assert figures["peak_mb/20000"] > 100
    best, worst = controls["truth.log_loss"], controls["constant.log_loss"]
    assert best < figures["log_loss/20000"] < worst


@pytest.mark.parametrize("rows", ["many", "10,", "5000"])
def test_numbers_of_rows_that_cannot_be_are_refused(rows):
    result = CliRunner().invoke(main, ["bench", "retrain", "--rows", rows])

    assert result.exit_code == 2
    assert "--rows" in result.output
