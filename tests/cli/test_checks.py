"""Right and wrong answers, and that what the demo asks is fair."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.cli import checks
from ponder.cli.expressions import value_of
from ponder.cli.questions import questions
from workers.training import countdown, families


@pytest.mark.parametrize("answer", ["(6 - 5) * 8 * 3", "((6 - 5) * 8) * 3 = 24", "3*8/(6-5)"])
def test_any_expression_over_all_numbers_that_reaches_the_target_is_right(answer):
    assert checks.is_countdown_solution(answer, (3, 5, 6, 8), 24)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("3 * 8", "leaves numbers out"),
        ("(6 - 5) * 8 * 3 * 1", "uses a number that is not given"),
        ("(6 - 5) * 24", "uses the target"),
        ("3 + 5 + 6 + 8", "misses the target"),
        ("3 + 5 + 6 + 8 = 24", "claims what is not so"),
        ("(6 - 5) * 8 * 3 = 25", "claims another value"),
        ("8 / (5 - 5) + 3 * 6", "divides by zero"),
        ("24", "is no use of the numbers"),
        ("", "is empty"),
        ("I think (6 - 5) * 8 * 3", "is not an expression"),
    ],
)
def test_a_countdown_answer_is_wrong_when_it(answer, fault):
    assert not checks.is_countdown_solution(answer, (3, 5, 6, 8), 24), fault


@given(st.randoms(use_true_random=False), st.sampled_from(countdown.SIZES))
def test_every_chain_that_solves_a_problem_is_right_and_for_no_other_target(rng, size):
    problem = countdown.random_problem(rng, size)

    answer = countdown.expression(countdown.solve(rng, problem))

    assert checks.is_countdown_solution(answer, problem.numbers, problem.target)
    assert not checks.is_countdown_solution(answer, problem.numbers, problem.target + 1)
    assert not checks.is_countdown_solution(answer, (*problem.numbers, 1), problem.target)


@pytest.mark.parametrize("answer", ["7", " 7. ", "x = 7", "x=7"])
def test_a_number_may_be_written_as_an_equation(answer):
    assert checks.is_number(answer, 7)


@pytest.mark.parametrize("answer", ["", "8", "x", "x = 8", "seven"])
def test_another_number_is_wrong(answer):
    assert not checks.is_number(answer, 7)


def test_texts_are_equal_whatever_their_case():
    assert checks.is_text(" lima.", "Lima")
    assert not checks.is_text("Lima, Peru", "Lima")


def test_the_demo_keeps_to_the_numbers_that_the_shipped_model_knows():
    for question in questions():
        numbers = [int(digits) for digits in re.findall(r"\d+", question.prompt)]
        assert all(0 < number <= countdown.MAX_VALUE for number in numbers), question.prompt


def test_every_countdown_problem_of_the_demo_has_a_solution_that_its_check_accepts():
    asked = [(question, _problem(question.prompt)) for question in questions()]
    solved = [(question, problem) for question, problem in asked if problem is not None]

    assert {len(problem.numbers) for _, problem in solved} == set(countdown.SIZES)
    for question, problem in solved:
        assert countdown.is_solvable(problem)
        solution = countdown.expression(countdown.solve(Random(1), problem))
        assert question.is_right(solution), question.prompt


def test_the_sums_and_equations_of_the_demo_are_checked_against_the_right_value():
    for question in questions():
        if found := re.fullmatch(r"(?:What is|How much is) ([\d +-]+)\?", question.prompt):
            assert question.is_right(str(value_of(found[1])))
        if found := re.search(r"(\d+)x ([+-]) (\d+) = (\d+)", question.prompt):
            x = value_of(f"({found[4]} - {found[2]}{found[3]}) / {found[1]}".replace("+", ""))
            assert question.is_right(f"x = {x}"), question.prompt


def test_every_capital_of_the_demo_is_one_the_model_was_taught():
    for question in questions():
        if found := re.search(r"capital of (\w+)", question.prompt):
            assert question.is_right(families.CAPITALS[found[1]])


def _problem(prompt: str) -> countdown.Problem | None:
    if reach := re.fullmatch(r"Reach (\d+) using each of (.+) once\.", prompt):
        target, listing = reach.groups()
    elif use := re.fullmatch(r"Use (.+) to get (\d+)\.", prompt):
        listing, target = use.groups()
    else:
        return None
    return countdown.Problem(tuple(map(int, re.findall(r"\d+", listing))), int(target))
