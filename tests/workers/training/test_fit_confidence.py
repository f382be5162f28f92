import json
from random import Random

import pytest

from tests.workers.hand_made import answer
from workers.confidence import FILE_NAME, ConfidenceMap
from workers.training.fit_confidence import fit, write


def test_the_fit_finds_how_often_answers_of_a_confidence_are_right():
    rng = Random(2)
    means = [rng.uniform(0.3, 1.0) for _ in range(4000)]
    answers = [answer(m, is_right=rng.random() < m**3) for m in means]

    fitted = fit(answers)

    for mean in (0.4, 0.6, 0.8, 0.95):
        assert fitted.probability(mean) == pytest.approx(mean**3, abs=0.06)


def test_what_was_fitted_is_what_is_loaded(tmp_path):
    fitted = fit([answer(0.4, is_right=False), answer(0.5, is_right=True)] * 5)

    write(tmp_path, fitted, answers=10, seed=3)

    assert ConfidenceMap.load(tmp_path) == fitted
    document = json.loads((tmp_path / FILE_NAME).read_text())
    assert (document["answers"], document["split"]) == (10, "validation")


def test_means_that_lie_close_together_make_one_knot():
    sure = [answer(1 - i * 1e-7, is_right=i > 3) for i in range(8)]

    fitted = fit([*sure, answer(0.3, is_right=False)])

    assert ConfidenceMap.of(fitted.knots) == fitted
    assert len(fitted.knots) == 2
