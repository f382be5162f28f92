"""The generated prompts: reproducible, varied, and of every kind, language and shape."""

from collections import Counter
from random import Random

import pytest

from classifier.general.kinds import TIER_OF_KIND, Kind
from classifier.general.prompts import Language, generate
from classifier.general.puzzles import PUZZLE_KINDS, puzzle
from classifier.survival import TIER_BUDGETS

COUNT = 3000


@pytest.fixture(scope="module")
def prompts():
    return list(generate(COUNT, seed=3))


def test_equal_seeds_give_equal_prompts(prompts):
    assert list(generate(COUNT, seed=3)) == prompts
    assert list(generate(COUNT, seed=4)) != prompts


def test_most_prompts_are_unlike_any_other(prompts):
    assert len({prompt.text for prompt in prompts}) > 0.8 * COUNT


def test_every_kind_language_and_shape_occurs(prompts):
    assert {prompt.kind for prompt in prompts} == set(Kind)
    assert {TIER_OF_KIND[kind] for kind in Kind} == set(TIER_BUDGETS)
    languages = Counter(prompt.language for prompt in prompts)
    assert set(languages) == {"English", "German", "French", "Spanish", "Chinese"}
    assert min(languages.values()) > 0.05 * COUNT
    shapes = Counter(prompt.shape for prompt in prompts)
    assert set(shapes) == {"plain", "polite", "turns", "follow up", "tools", "document"}


def test_a_longer_puzzle_is_the_same_kind_of_text():
    lengths = {
        kind: sum(len(puzzle(kind, Random(seed))) for seed in range(200)) for kind in PUZZLE_KINDS
    }

    assert lengths[Kind.SHORT_PUZZLE] < lengths[Kind.PUZZLE] < lengths[Kind.LONG_PUZZLE]


def test_some_documents_are_long(prompts):
    longest = max(len(prompt.text) for prompt in prompts if prompt.shape == "document")
    assert longest > 4_000


@pytest.mark.parametrize("language", Language.all(), ids=lambda language: language.name)
def test_every_template_and_word_can_be_filled(language):
    rng = Random(1)
    templates = [text for texts in language.templates.values() for text in texts]
    words = [text for texts in language.words.values() for text in texts]
    filled = [language.fill(text, rng) for text in (*templates, *words)]

    assert set(language.templates) == set(Kind) - PUZZLE_KINDS
    assert all(text.strip() for text in filled)
    assert not [text for text in filled if "{name}" in text or "{small}" in text]
