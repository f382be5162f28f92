from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training.countdown import MAX_INPUT, MAX_VALUE
from workers.training.lines import attempt_line
from workers.training.reading import (
    claim_is_true,
    read_attempts,
    step_is_right,
    system_is_right,
    system_is_well_formed,
)
from workers.training.systems import System, random_system, system_answer, system_bodies

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_a_system_has_exactly_one_solution(seed):
    system = random_system(Random(seed))

    inputs = range(1, MAX_INPUT + 1)
    solutions = [(x, y) for x in inputs for y in inputs if system.holds(x, y)]

    assert solutions == [system.solution()]


@given(SEEDS)
def test_only_the_last_trial_claims_a_solution_and_every_step_is_in_range(seed):
    system = random_system(Random(seed))

    lines = "".join(attempt_line(n, body) for n, body in enumerate(system_bodies(system), 1))
    trials = read_attempts(lines)

    assert [t.verdict for t in trials] == ["no"] * (len(trials) - 1) + ["yes"]
    assert [claim_is_true(t, system) for t in trials] == [t.verdict == "yes" for t in trials]
    steps = [step for trial in trials for step in trial.steps]
    assert all(step_is_right(step) and 1 <= step.result <= MAX_VALUE for step in steps)


@given(SEEDS)
def test_the_written_solution_is_right(seed):
    system = random_system(Random(seed))

    assert system_is_right(system_answer(*system.solution()), system)


@pytest.mark.parametrize("answer", ["x = 4, y = 5", "x = 5", "5, 4", "x = 5, y = 4, z = 1", ""])
def test_any_other_answer_is_wrong(answer):
    system = System(y_factor=3, first_total=17, x_factor=4, op="-", second_total=16)

    assert system.solution() == (5, 4)
    assert not system_is_right(answer, system)


def test_an_answer_that_is_wrong_may_be_well_formed():
    assert system_is_well_formed("x = 4, y = 5")
    assert not system_is_well_formed("x = 4")


def test_a_trial_that_fits_the_first_equation_alone_is_no_solution():
    system = System(y_factor=3, first_total=17, x_factor=4, op="-", second_total=16)

    (trial,) = read_attempts("\n2 17 3 4 - 16: 17 - 2 = 15 / 3 = 5, 4 * 2 = 8 - 5 = 3 yes")

    assert not claim_is_true(trial, system)
