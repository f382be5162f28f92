"""The shipped general classifier, as the router loads it. All prompts are this project's own."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifier.general.__main__ import SHIPPED
from classifier.predictor import DifficultyClassifier
from classifier.survival import (
    COLD_COVERAGE,
    Floats,
    median_need,
    smallest_sufficient_tier,
    survival_of,
)
from ponder.bins import NEED_BIN_EDGES
from router.config import RouterConfig

SMALL_TALK = {
    "English": "Hey! Thanks, that was great.",
    "German": "Hallo, danke dir und schönen Abend!",
    "French": "Salut, merci beaucoup et bonne soirée !",
    "Spanish": "¡Hola! Muchas gracias y buenas tardes.",
    "Chinese": "你好，非常感谢，再见！",
}
OLYMPIAD = {
    "English": "Let $p > 3$ be prime. Prove that $p^2 - 1$ is divisible by 24, and determine all"
    " positive integers $n$ such that $n^2 - 1$ divides $2^n + 1$.",
    "German": "Sei $p > 3$ eine Primzahl. Beweise, dass $p^2 - 1$ durch 24 teilbar ist, und"
    " bestimme alle natürlichen Zahlen $n$, für die $n^2 - 1$ ein Teiler von $2^n + 1$ ist.",
    "French": "Soit $p > 3$ un nombre premier. Démontrer que $p^2 - 1$ est divisible par 24, et"
    " déterminer tous les entiers $n$ tels que $n^2 - 1$ divise $2^n + 1$.",
    "Spanish": "Sea $p > 3$ un número primo. Demuestra que $p^2 - 1$ es divisible por 24, y halla"
    " todos los enteros $n$ tales que $n^2 - 1$ divide a $2^n + 1$.",
    "Chinese": "设 $p > 3$ 为素数。证明 $p^2 - 1$ 能被 24 整除，并求所有正整数 $n$，使得"
    " $n^2 - 1$ 整除 $2^n + 1$。",
}


@pytest.fixture(scope="module")
def general() -> DifficultyClassifier:
    return DifficultyClassifier.load(SHIPPED)


def curve(classifier: DifficultyClassifier, prompt: str) -> Floats:
    return survival_of(classifier.predict(prompt)[np.newaxis])


@pytest.mark.parametrize("language", SMALL_TALK)
def test_small_talk_starts_in_the_simple_tier(general, language):
    survival = curve(general, SMALL_TALK[language])

    assert smallest_sufficient_tier(survival, COLD_COVERAGE)[0] == 0


@pytest.mark.parametrize("language", OLYMPIAD)
def test_an_olympiad_problem_needs_far_more_than_small_talk(general, language):
    hard, easy = curve(general, OLYMPIAD[language]), curve(general, SMALL_TALK[language])

    assert smallest_sufficient_tier(hard, COLD_COVERAGE)[0] >= 2
    assert median_need(hard)[0] > 10 * median_need(easy)[0]


@settings(max_examples=200, deadline=None)
@given(prompt=st.one_of(st.text(), st.sampled_from([*SMALL_TALK.values(), *OLYMPIAD.values()])))
@example("")
@example("?")
@example("Prove that it is so. " * 300)
def test_the_curve_is_wide_whatever_is_asked(general, prompt):
    """One in five may need more than 50 tokens, and one in five no more than 2,000."""
    survival = dict(zip(NEED_BIN_EDGES, curve(general, prompt)[0], strict=True))

    assert survival[50] > 0.2
    assert survival[500] > 0.05
    assert survival[2000] < 0.82


@pytest.mark.parametrize("prompt", ["Rewrite this: we is late because of rain", "thanks", "hi"])
def test_what_services_are_sent_most_starts_low(general, prompt):
    assert smallest_sufficient_tier(curve(general, prompt), COLD_COVERAGE)[0] == 0


def test_a_conversation_is_judged_by_its_last_turn_too(general):
    talk = "hi\n\nYou're welcome! Anything else?\n\n"
    easy, hard = curve(general, talk + "thanks, bye"), curve(general, talk + OLYMPIAD["English"])

    assert median_need(hard)[0] > 4 * median_need(easy)[0]


def test_the_router_begins_where_it_was_measured():
    config = RouterConfig(
        easy_workers=("127.0.0.1:1",), thinking_workers=(), redis_url="redis://x", spool_dir="x"
    )
    assert config.cold_coverage == COLD_COVERAGE


def test_its_card_is_of_this_version(general):
    card = Path(SHIPPED).with_suffix(".md").read_text(encoding="utf-8")

    assert general.version in card
    assert "What it is bad at" in card


FOLLOW_UPS = ("Why?", "Are you sure?", "I do not understand that. Can you explain it again?")


@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize("language", ["English", "German"])
def test_a_follow_up_is_predicted_with_what_it_follows(general, language, follow_up):
    """As the router joins the messages of a conversation; alone it would be small talk."""
    conversation = f"{OLYMPIAD[language]}\n\nHere is a sketch of the proof.\n\n{follow_up}"
    together, alone = curve(general, conversation), curve(general, follow_up)

    assert smallest_sufficient_tier(together, COLD_COVERAGE)[0] >= 2
    assert median_need(together)[0] > 4 * median_need(alone)[0]


@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
def test_a_follow_up_to_small_talk_stays_small(general, follow_up):
    conversation = f"{SMALL_TALK['English']}\n\nYou are welcome!\n\n{follow_up}"

    assert smallest_sufficient_tier(curve(general, conversation), COLD_COVERAGE)[0] <= 1
