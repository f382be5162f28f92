"""How sure a model was, by what a server tells."""

import math

import pytest

from workers.upstream.odds import Odds


def test_entropy_is_exact_where_all_tokens_are_told():
    halves = [math.log(0.5), math.log(0.5)]

    odds = Odds.of(halves[0], halves)

    assert odds.logprob == halves[0]
    assert odds.entropy == pytest.approx(math.log(2))
    assert Odds.of(0.0, [0.0, -9999.0]).entropy == 0.0


def test_entropy_is_never_above_the_true_one():
    shares = [0.6, 0.2, 0.1, 0.06, 0.04]
    true = -sum(share * math.log(share) for share in shares)

    told = [Odds.of(0.0, map(math.log, shares[:count])).entropy for count in range(1, 6)]

    assert told == sorted(told)
    assert told[-1] == pytest.approx(true)
