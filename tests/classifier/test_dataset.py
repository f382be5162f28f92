"""Rows of the data set: labels by the one definition of bins, splits that share no prompt."""

import numpy as np
import pytest

from classifier.columns import SPLITS
from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.features import encode
from ponder.bins import NUM_NEED_BINS, bin_of_need, num_bins_within
from tests.classifier.oracle import Question


def ids_of(prompt: str) -> tuple[int, ...]:
    return tuple(encode(prompt).tolist())


def test_finished_request_is_an_event_in_its_bin_and_at_risk_up_to_it():
    data = Dataset.of([Question("a", "", need_tokens=60).outcome()])

    need_bin = bin_of_need(60)
    assert np.flatnonzero(data.events[0]).tolist() == [need_bin]
    assert np.flatnonzero(data.at_risk[0]).tolist() == list(range(need_bin + 1))
    assert data.need_known.tolist() == [True]


def test_cut_request_is_at_risk_up_to_its_budget_and_no_event():
    data = Dataset.of([Question("a", "", need_tokens=600).outcome(budget_tokens=500)])

    assert not data.events.any()
    assert data.at_risk[0].sum() == num_bins_within(500)
    assert data.need_known.tolist() == [False]


def test_splits_have_their_shares_and_do_not_depend_on_other_rows(dataset: Dataset):
    shares = [float((dataset.splits == name).mean()) for name in SPLITS]

    assert shares == pytest.approx([0.6, 0.15, 0.25], abs=0.04)
    assert sum(len(dataset.split(name)) for name in SPLITS) == len(dataset)


def test_no_prompt_is_in_two_splits(dataset: Dataset):
    keys = {name: {row.tobytes() for row in dataset.split(name).features} for name in SPLITS}

    assert not keys["train"] & (keys["validation"] | keys["test"])
    assert not keys["validation"] & keys["test"]


def test_shuffling_keeps_features_and_moves_whole_outcomes(dataset: Dataset):
    shuffled = dataset.with_outcomes_shuffled(seed=1)

    assert (shuffled.features == dataset.features).all()
    assert (shuffled.thinking_tokens != dataset.thinking_tokens).any()
    assert sorted(shuffled.thinking_tokens) == sorted(dataset.thinking_tokens)
    assert shuffled.at_risk.shape == (len(dataset), NUM_NEED_BINS)


def test_empty_data_set_is_refused():
    with pytest.raises(DatasetError, match="no trace is usable"):
        Dataset.of([])
