"""Which worker takes a segment: two choices, a soft partition, and the prefix where it pays."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.choice import LENDING_SHARE, can_lend, choose, is_full


@dataclass(frozen=True)
class Worker:
    in_flight: int = 0
    slots: int = 8
    burden_tokens: float = 0.0
    is_ejected: bool = False
    name: str = ""


workers = st.lists(
    st.builds(
        Worker,
        in_flight=st.integers(0, 12),
        slots=st.sampled_from([0, 4, 8]),
        burden_tokens=st.floats(0, 1e6),
        is_ejected=st.booleans(),
    ),
    max_size=5,
)
rngs = st.integers().map(Random)


@given(workers, workers, rngs)
def test_somebody_takes_it_where_there_is_anybody(home, away, rng):
    chosen = choose(home, away, rng)

    assert (chosen is None) == (not home and not away)
    assert chosen is None or chosen in home + away


@given(workers, workers, rngs)
def test_the_other_pool_lends_only_what_is_idle_to_a_pool_that_is_full(home, away, rng):
    home = [Worker(**{**vars(worker), "name": "home"}) for worker in home]
    chosen = choose(home, away, rng)

    if home and chosen is not None and chosen not in home:
        assert all(is_full(worker) or worker.is_ejected for worker in home)
        assert chosen.in_flight < LENDING_SHARE * chosen.slots
        assert not chosen.is_ejected


@given(workers.filter(bool), rngs)
def test_nobody_waits_where_another_could_begin(home, rng):
    sound = [worker for worker in home if not worker.is_ejected]
    chosen = choose(home, [], rng)

    assert chosen is not None
    if any(not is_full(worker) for worker in sound):
        assert not is_full(chosen)
    if sound:
        assert not chosen.is_ejected


@given(workers.filter(bool), workers, rngs, st.integers(0, 10_000))
def test_the_prefix_never_costs_more_than_it_is_worth(home, away, rng, prefix_tokens):
    holder = home[0]
    seed = rng.random()
    without = choose(home, away, Random(seed))
    chosen = choose(home, away, Random(seed), holder=holder, prefix_tokens=prefix_tokens)

    assert without is not None
    assert chosen is not None
    if chosen is not without:
        assert chosen is holder
        assert holder.burden_tokens <= without.burden_tokens + prefix_tokens
        assert not holder.is_ejected
        assert not is_full(holder)


def test_of_two_the_one_with_less_predicted_work_takes_it():
    busy, idle = Worker(burden_tokens=10.0), Worker(burden_tokens=5.0)

    assert choose([busy, idle], [], Random(0)) is idle


def test_two_choices_spread_what_the_best_of_all_would_pile_up():
    """Several routers choose from the same reports: one that looks best is not chosen by all."""
    home = [Worker(burden_tokens=float(place), name=str(place)) for place in range(10)]
    chosen = [choose(home, [], Random(seed)) for seed in range(200)]

    assert 20 <= chosen.count(home[0]) <= 60  # a fifth of the draws has it
    assert home[9] not in chosen


@pytest.mark.parametrize(("in_flight", "lends"), [(0, True), (3, True), (4, False), (8, False)])
def test_half_of_the_slots_are_never_lent(in_flight, lends):
    assert can_lend(Worker(in_flight=in_flight, slots=8)) == lends


def test_lent_capacity_is_taken_back():
    """As soon as its own pool has room, the next segment comes home."""
    away = [Worker(name="away")]

    assert choose([Worker(in_flight=8)], away, Random(0)) in away
    assert choose([Worker(in_flight=7)], away, Random(0)) not in away


def test_the_other_pool_stands_in_for_one_that_is_gone_however_busy():
    busy = Worker(in_flight=12)

    assert choose([], [busy], Random(0)) is busy


def test_a_holder_of_the_other_pool_is_kept_while_it_may_lend():
    holder = Worker(in_flight=1, name="holder")
    full = Worker(in_flight=7, name="holder")
    home = [Worker()]

    assert choose(home, [holder], Random(0), holder=holder, prefix_tokens=500) is holder
    assert choose(home, [full], Random(0), holder=full, prefix_tokens=500) in home


def test_a_holder_that_may_not_take_it_is_not_chosen():
    gone = Worker(name="gone")
    home = [Worker()]

    assert choose(home, [], Random(0), holder=gone, prefix_tokens=500) in home
