"""The HTML file: whole, without anything from elsewhere, and nothing in it is taken for markup."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from classifier.dataset import Dataset
from classifier.evaluate import evaluate
from classifier.hazards import HazardModel
from classifier.survival import TIER_BUDGETS
from classifier.training_report.facts import Trained
from classifier.training_report.page import to_html


@pytest.fixture(scope="module")
def trained(model: HazardModel, dataset: Dataset) -> Trained:
    data = replace(dataset, prompts=np.full(len(dataset), "<script>&", dtype=object))
    test = data.split("test")
    hazards = model.hazards(test.features)
    evaluations = {"classifier": evaluate(hazards, test), "constant": evaluate(hazards, test)}
    return Trained(
        name="org/<model>",
        version="v1",
        model=model,
        data=data,
        hazards=hazards,
        evaluations=evaluations,
    )


@pytest.fixture(scope="module")
def page(trained: Trained) -> str:
    return to_html(trained)


def test_every_part_is_there_with_its_figures(page, trained):
    judged = trained.judged
    assert page.count("<section>") == page.count("</section>") == 7
    assert page.count("<svg") == 4
    assert f"{judged.log_loss:.3f}" in page
    for tier in TIER_BUDGETS:
        assert f"{tier}: ECE {judged.calibration_error[tier]:.3f}" in page
    for name, coverage in {"all": judged.bound, **judged.bound_by_slice}.items():
        assert f"{name} ({coverage.num_rows})" in page
    assert "family countdown" in page
    assert "cut: the need is above" in page


def test_nothing_is_loaded_from_elsewhere_and_drawings_are_well_formed(page):
    for place in ("<script", "<img", "<link", "@import", "src="):
        assert place not in page
    for drawing in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + drawing[: drawing.index("</svg>")] + "</svg>")


def test_prompts_and_names_are_text(page):
    assert "&lt;script&gt;&amp;" in page
    assert "org/&lt;model&gt;" in page


def test_ids_of_the_drawings_do_not_meet(page):
    ids = [part.split('"')[0] for part in page.split('<clipPath id="')[1:]]

    assert len(ids) == len(set(ids))


def test_equal_trainings_give_equal_pages(page, trained):
    assert to_html(trained) == page
