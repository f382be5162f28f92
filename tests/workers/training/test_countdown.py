from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training import countdown, families
from workers.training.countdown import MAX_VALUE, SIZES, Problem
from workers.training.reading import (
    countdown_is_right,
    countdown_is_well_formed,
    step_is_right,
)

seeds = st.integers(0, 2**32)
sizes = st.sampled_from(SIZES)


@given(seeds, sizes)
def test_every_drawn_problem_is_solvable(seed, size):
    problem = countdown.random_problem(Random(seed), size)

    assert countdown.is_solvable(problem)
    assert len(problem.numbers) == size


@given(seeds, sizes)
def test_a_solution_is_right_by_the_scorer_of_reasoning_gym(seed, size):
    rng = Random(seed)
    problem = countdown.random_problem(rng, size)

    answer = countdown.expression(countdown.solve(rng, problem))

    assert countdown_is_right(answer, problem)
    assert countdown_is_well_formed(answer, problem)


@given(seeds, sizes)
def test_attempts_use_every_number_once_and_only_true_steps(seed, size):
    rng = Random(seed)
    problem = countdown.random_problem(rng, size)

    chain = countdown.random_attempt(rng, problem)

    assert sorted([chain[0].left, *(s.right for s in chain)]) == sorted(problem.numbers)
    assert all(step_is_right(s) and 1 <= s.result <= MAX_VALUE for s in chain)


def test_an_unreachable_target_is_not_solvable():
    assert not countdown.is_solvable(Problem((1, 1), 97))


def test_the_order_of_the_numbers_does_not_change_the_split():
    assert Problem((3, 5, 8), 24).split == Problem((8, 3, 5), 24).split


def test_drawn_problems_of_different_splits_share_no_key():
    drawn = {
        split: {p.key for p in countdown.problems(Random(3), 3, split, 100)}
        for split in countdown.SPLITS
    }

    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]
    assert all(len(keys) == 100 for keys in drawn.values())


@pytest.mark.parametrize("answer", ["", "3 * 5", "(3 * 5) + 9", "((3 * 5) + 8", "3 * 5 + 8 yes"])
def test_answers_that_misuse_the_numbers_are_not_well_formed(answer):
    assert not countdown_is_well_formed(answer, Problem((3, 5, 8), 23))


def test_a_wrong_value_is_well_formed_but_not_right():
    problem = Problem((3, 5, 8), 24)

    assert countdown_is_well_formed("(3 * 5) + 8", problem)
    assert not countdown_is_right("(3 * 5) + 8", problem)


@given(seeds)
def test_equations_are_solved_by_their_steps(seed):
    equation = families.random_equation(Random(seed))

    assert equation.factor * equation.solution + equation.offset == equation.total
    assert equation.steps()[-1].result == equation.solution
    assert all(step_is_right(step) for step in equation.steps())


@given(seeds)
def test_sums_read_as_what_their_steps_compute(seed):
    item = families.random_arithmetic(Random(seed))

    left, *signed = str(item).replace("- ", "+ -").split(" + ")

    assert int(left) + sum(map(int, signed)) == item.solution
