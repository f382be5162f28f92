import dataclasses
import xml.etree.ElementTree as ElementTree

from PIL import Image

from tests.workers.hand_made import evaluation
from workers.training.plot import PUBLISHED, PUBLISHED_BUDGETS, draw


def test_the_plot_is_drawn_as_svg_and_png(tmp_path):
    svg, png = draw(evaluation(), tmp_path / "plots")

    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    with Image.open(png) as image:
        assert image.width == 1600


def test_the_same_figures_give_the_same_files(tmp_path):
    first, second = (draw(evaluation(), tmp_path / name) for name in ("a", "b"))

    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_other_figures_give_another_plot(tmp_path):
    made = evaluation()
    mixed_up = {**made.families, "countdown-4": made.families["countdown-6"]}
    changed = dataclasses.replace(made, families=mixed_up)

    first, second = draw(made, tmp_path / "a"), draw(changed, tmp_path / "b")

    assert first[0].read_bytes() != second[0].read_bytes()


def test_every_published_curve_rises_and_has_a_point_for_every_budget():
    for percent in PUBLISHED.values():
        assert len(percent) == len(PUBLISHED_BUDGETS)
        assert sorted(percent) == list(percent)
