"""The rolling cosine is the one that counting both windows anew gives."""

from collections import Counter
from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.early_exit.repetition import RepetitionMeter


def cosine_of_windows(tokens, window):
    bigrams = list(pairwise(tokens))[-2 * window :]
    if len(bigrams) < 2 * window:
        return 0.0
    old, new = Counter(bigrams[:window]), Counter(bigrams[window:])
    dot = sum(old[bigram] * new[bigram] for bigram in old)
    norms = [sum(count * count for count in counts.values()) for counts in (old, new)]
    return dot / sqrt(norms[0] * norms[1])


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 7))
def test_it_equals_a_count_of_both_windows(tokens, window):
    meter = RepetitionMeter(window)
    for end, token in enumerate(tokens, start=1):
        meter.feed(token)
        assert meter.similarity == pytest.approx(cosine_of_windows(tokens[:end], window))


def test_a_loop_is_fully_similar_and_a_search_is_not():
    loop, search = RepetitionMeter(50), RepetitionMeter(50)
    for token in [*range(20)] * 10:
        loop.feed(token)
    for token in range(200):
        search.feed(token % 13 * 17 + token % 7)

    assert loop.similarity > 0.9
    assert search.similarity < 0.9


def test_nothing_is_similar_before_both_windows_are_full():
    meter = RepetitionMeter(50)
    for _ in range(100):
        meter.feed(7)
        assert meter.similarity == 0.0

    meter.feed(7)

    assert meter.similarity == 1.0
