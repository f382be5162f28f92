from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.training.countdown import SIZES, Problem, random_attempt, random_problem
from workers.training.lines import attempt_line, countdown_body
from workers.training.oracle import Oracle
from workers.training.systems import System, system_bodies
from workers.training.vocabulary import build_tokenizer

# Both orders reach 19 by a sum, and the look-ahead on the last step always takes it.
ALWAYS = Problem((7, 12), 19)
# 12 - 7 = 5 needs the order 12, 7; the other order is 7 + 12 or 7 * 12. A hit in one try of two.
EVERY_OTHER = Problem((7, 12), 5)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_a_problem_that_every_try_solves_takes_one_line(tokenizer):
    oracle = Oracle(tokenizer, num_searches=20)
    line = oracle.line_tokens(ALWAYS)

    assert oracle.solved_within(Random(1), ALWAYS, [line - 1, line]) == {line - 1: 0.0, line: 1.0}


def test_chances_are_those_of_independent_tries(tokenizer):
    oracle = Oracle(tokenizer, num_searches=20_000)
    line = oracle.line_tokens(EVERY_OTHER)
    budgets = [line * tries for tries in (1, 2, 3, 5)]

    solved = oracle.solved_within(Random(2), EVERY_OTHER, budgets)

    expected = [1 - 0.5**tries for tries in (1, 2, 3, 5)]
    assert list(solved.values()) == pytest.approx(expected, abs=0.012)


def test_a_budget_that_a_line_does_not_fill_adds_nothing(tokenizer):
    oracle = Oracle(tokenizer, num_searches=200)
    line = oracle.line_tokens(EVERY_OTHER)

    solved = oracle.solved_within(Random(3), EVERY_OTHER, [2 * line, 3 * line - 1])

    assert solved[2 * line] == solved[3 * line - 1]


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(SIZES))
def test_every_line_of_a_problem_costs_the_same(seed, size):
    rng = Random(seed)
    problem = random_problem(rng, size)
    tokenizer = build_tokenizer()

    costs = {
        len(tokenizer.encode(attempt_line(number, countdown_body(problem, chain))).ids)
        for number in (1, 42, 99, 300)
        for chain in (random_attempt(rng, problem), random_attempt(rng, problem))
    }

    assert costs == {5 * size + 2} == {Oracle(tokenizer).line_tokens(problem)}


def test_the_trials_of_a_system_are_counted_up_to_the_one_that_fits(tokenizer):
    system = System(y_factor=3, first_total=17, x_factor=4, op="-", second_total=16)
    lines = "".join(attempt_line(n, body) for n, body in enumerate(system_bodies(system), 1))
    tokens = len(tokenizer.encode(lines).ids)

    solved = Oracle(tokenizer).solved_within(Random(1), system, [tokens - 1, tokens])

    assert solved == {tokens - 1: 0.0, tokens: 1.0}
