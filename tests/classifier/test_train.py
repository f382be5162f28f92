"""What training tells while it goes on."""

import pytest

from classifier import train as training
from classifier.dataset import Dataset
from classifier.train import num_fitted_rows, train, train_controls


@pytest.mark.parametrize("most", [10_000, 500])
def test_progress_ends_at_its_total(dataset: Dataset, monkeypatch, most):
    """Also where there are more rows than choose, so that the choice is fitted again to all."""
    monkeypatch.setattr(training, "MAX_CHOOSING_ROWS", most)
    monkeypatch.setattr(training, "REGULARISATIONS", (0.1, 0.3))
    told: list[int] = []
    lines: list[str] = []

    model = train(dataset, lines.append, told.append)
    train_controls(dataset, model.regularisation, lines.append, told.append)

    assert sum(told) == num_fitted_rows(dataset)
    assert len(told) == 5 + (most == 500)
    assert any(line.startswith("calibrated on") for line in lines)
