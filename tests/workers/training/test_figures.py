import pytest

from tests.workers.hand_made import answer, evaluation, problem, thinking
from workers.confidence import ConfidenceMap
from workers.training.evaluation import Evaluation
from workers.training.figures import family_figures
from workers.training.records import NO_STEPS, ProblemRecord
from workers.training.shares import Share


def test_accuracy_gains_and_gaps_are_those_of_the_problems():
    family = family_figures([problem(50), problem(500), problem(2000), problem(20_000)])

    assert [family.accuracy[b].value for b in (0, 50, 500, 2000, 10_000)] == [
        0,
        0.25,
        0.5,
        0.75,
        0.75,
    ]
    assert {b: gain.value for b, gain in family.gains.items()} == {500: 0.25, 2000: 0.25, 10_000: 0}
    assert family.oracle[10_000].value == 0.375
    assert family.oracle_gaps[10_000].value == pytest.approx(-0.375)  # the model is ahead


def test_gains_are_paired_by_problem():
    family = family_figures([problem(500)] * 30)

    assert (family.gains[500].low, family.gains[500].high) == (1.0, 1.0)


def test_overthinking_is_the_share_of_tokens_after_the_first_hit():
    short = problem(50, thinking=thinking(20, 10))
    long = problem(50, thinking=thinking(980, 930))
    never = problem(20_000, thinking=thinking(10_000, None))

    figures = family_figures([short, long, never]).figures

    assert figures["overthinking_share"].value == pytest.approx(60 / 1000)
    by_problem = (10 / 20 + 50 / 980) / 2
    assert figures["overthinking_share_by_problem"].value == pytest.approx(by_problem)


SURE_AND_UNSURE = (answer(0.9, is_right=True), answer(0.2, is_right=False))


def test_confidence_figures_are_those_of_answers_at_random_cuts():
    at_tier = answer(0.5, is_right=False, is_random_cut=False)

    figures = family_figures([problem(50, *SURE_AND_UNSURE, at_tier)] * 10).figures

    assert figures["answer_auroc"].value == 1.0
    assert figures["answer_ece"].value == pytest.approx(0.15)
    assert figures["answer_auroc"].count == 20
    assert figures["answer_ece_at_tiers"].value == pytest.approx(0.5)
    assert "answer_auroc_at_tiers" not in figures  # none of them is right


def test_the_map_corrects_probabilities_and_no_ranks():
    confidence_map = ConfidenceMap.of([(0.2, 0.0), (0.9, 1.0)])

    figures = family_figures([problem(50, *SURE_AND_UNSURE)] * 10, confidence_map).figures

    assert figures["answer_ece"].value == pytest.approx(0)
    assert figures["answer_ece_without_map"].value == pytest.approx(0.15)
    assert figures["answer_auroc"].value == 1.0


def test_only_answers_at_random_cuts_say_how_well_formed_answers_are():
    at_budget = answer(0.5, is_right=True, is_random_cut=False)

    figures = family_figures([problem(50, at_budget, answer(0.5, is_right=False))]).figures

    assert figures["well_formed_when_cut"].count == 1
    assert figures["markers_in_answers"].count == 2


def test_a_thinking_closed_without_a_hit_gave_up():
    closed = problem(20_000, thinking=thinking(80, None))
    cut = problem(20_000, thinking=thinking(10_000, None, is_finished=False))

    figures = family_figures([problem(50), closed, cut]).figures

    assert figures["gave_up"].value == 0.5
    assert figures["stopped_by_itself"].value == pytest.approx(2 / 3)


def test_steps_are_summed_by_position():
    late = (Share(4, 4), NO_STEPS[1], NO_STEPS[2], Share(3, 4))

    figures = family_figures([problem(50, thinking=thinking(steps=late))] * 2).figures

    assert figures["step_accuracy"].value == 14 / 16
    assert figures["step_accuracy_from_0"].value == 1.0
    assert figures["step_accuracy_from_5000"].value == 6 / 8
    assert "step_accuracy_from_500" not in figures


def test_late_steps_have_the_early_ones_of_the_same_problems_beside_them():
    long = thinking(9000, steps=(Share(9, 10), *NO_STEPS[1:-1], Share(8, 10)))
    short = thinking(100, steps=(Share(10, 10), *NO_STEPS[1:]))

    figures = family_figures([problem(50, thinking=long), problem(50, thinking=short)]).figures

    assert figures["step_accuracy_from_0"].value == 19 / 20
    assert figures["step_accuracy_from_0_of_those_beyond_5000"].value == 9 / 10
    assert figures["step_accuracy_from_5000"].value == 8 / 10


def test_what_is_not_defined_for_a_family_is_left_out():
    family = family_figures([ProblemRecord(thinking=thinking(20), is_right={50: True})])

    assert family.oracle == family.gains == family.oracle_gaps == {}
    assert "answer_auroc" not in family.figures


def test_an_evaluation_reads_back_as_it_was_written(tmp_path):
    made = evaluation()

    made.write(tmp_path / "evaluation.json")

    assert Evaluation.read(tmp_path / "evaluation.json") == made
