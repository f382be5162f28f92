from itertools import islice
from random import Random

import pytest

from workers.training import wordings
from workers.training.families import Arithmetic, Equation
from workers.training.gym import gym_equations, gym_sums
from workers.training.questions import EASY_FAMILIES, QuestionSource
from workers.training.vocabulary import build_tokenizer


@pytest.mark.parametrize("draw", [gym_equations, gym_sums])
def test_what_was_read_from_an_entry_has_the_answer_of_its_scorer(draw):
    for entry in islice(draw(Random(3)), 100):
        assert entry.score(str(entry.item.solution)) == 1.0
        assert entry.score(str(entry.item.solution + 1)) < 1.0


def test_sums_are_asked_in_training_as_reasoning_gym_asks_them():
    for entry in islice(gym_sums(Random(4)), 20):
        assert isinstance(entry.item, Arithmetic)
        assert entry.question == wordings.REASONING_GYM_SUM.format(sum=entry.item)


def test_equations_are_asked_in_training_as_reasoning_gym_asks_them():
    forms = wordings.reasoning_gym_equations()
    for entry in islice(gym_equations(Random(5)), 50):
        assert isinstance(entry.item, Equation)
        asked = {
            form.format(variable=letter, equation=entry.item.with_times_sign(letter))
            for form in forms
            for letter in "abcdefghijklmnopqrstuvwxyz"
        }
        assert entry.question in asked


def test_every_word_of_reasoning_gyms_questions_is_one_token():
    tokenizer = build_tokenizer()
    source = QuestionSource(Random(6), "test")
    for family in EASY_FAMILIES:
        for _ in range(30):
            prompt = source.easy(family).prompt
            words = tokenizer.pre_tokenizer.pre_tokenize_str(prompt)
            assert len(tokenizer.encode(prompt).tokens) == len(words)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_problems_from_reasoning_gym_are_of_the_split_asked_for(split):
    for draw in (gym_equations, gym_sums):
        entries = islice((e for e in draw(Random(7)) if e.item.split == split), 10)

        asked = {entry.item.key for entry in entries}

        assert asked
        assert all(key not in _other_keys(draw, split) for key in asked)


def _other_keys(draw, split):
    entries = islice(draw(Random(8)), 300)
    return {entry.item.key for entry in entries if entry.item.split != split}


@pytest.mark.parametrize("family", EASY_FAMILIES)
def test_easy_questions_know_right_from_wrong(family):
    source = QuestionSource(Random(9), "test")
    for _ in range(20):
        question = source.easy(family)

        assert not question.is_right("")
        assert not question.is_right("x = 99")
