"""Which worker takes a segment: two choices, a soft partition, and the prefix where it pays."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.burden import Burden
from router.choice import choose, gives_way, is_full, lendable_slots


@dataclass(frozen=True)
class Worker:
    in_flight: int = 0
    slots: int = 8
    tokens: float = 0.0
    num_young: int = 0
    probation_tokens: int = 0
    demoted_slots: int = 1
    is_ejected: bool = False
    name: str = ""

    @property
    def burden(self) -> Burden:
        return Burden(self.in_flight, self.tokens, self.num_young, 10.0 * self.num_young)


workers = st.lists(
    st.builds(
        Worker,
        in_flight=st.integers(0, 12),
        slots=st.sampled_from([0, 4, 8]),
        tokens=st.floats(0, 1e6),
        num_young=st.integers(0, 12),
        probation_tokens=st.sampled_from([0, 600]),
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
def test_the_other_pool_takes_only_what_finds_no_idle_slot_at_home(home, away, rng):
    home = [Worker(**{**vars(worker), "name": "home"}) for worker in home]
    chosen = choose(home, away, rng)

    if home and chosen is not None and chosen not in home:
        assert all(is_full(worker) or worker.is_ejected for worker in home)
        assert lendable_slots(chosen) or gives_way(chosen, 0)
        assert not chosen.is_ejected


@given(workers, workers, rngs)
def test_a_new_request_waits_only_where_nobody_gives_way_to_it(home, away, rng):
    chosen = choose(home, away, rng)

    if chosen is not None and is_full(chosen) and not gives_way(chosen, 0):
        sound = [worker for worker in home if not worker.is_ejected]
        assert not any(gives_way(worker, 0) or not is_full(worker) for worker in sound)


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
    without = choose(home, away, Random(seed), prefix_tokens=prefix_tokens)
    chosen = choose(home, away, Random(seed), holder=holder, prefix_tokens=prefix_tokens)

    assert without is not None
    assert chosen is not None
    if chosen is not without:
        assert chosen is holder
        assert not holder.is_ejected
        if is_full(holder):
            assert is_full(without)
            assert gives_way(holder, prefix_tokens)
        else:
            assert holder.tokens <= without.tokens + prefix_tokens


def test_of_two_the_one_with_less_predicted_work_takes_it():
    busy, idle = Worker(tokens=10.0), Worker(tokens=5.0)

    assert choose([busy, idle], [], Random(0)) is idle


def test_where_all_are_full_it_goes_to_whoever_has_fewer_that_it_waits_for():
    """Long work past its probation gives way; short work does not."""
    long_work = Worker(8, tokens=50_000.0, num_young=1, probation_tokens=600)
    short_work = Worker(8, tokens=700.0, num_young=6, probation_tokens=600)

    assert choose([long_work, short_work], [], Random(0)) is long_work


def test_who_is_past_probation_is_not_given_way_to():
    full = Worker(8, probation_tokens=600, name="home")
    lender = Worker(8, probation_tokens=600, name="away")

    assert gives_way(full, 599)
    assert not gives_way(full, 600)
    assert choose([full], [lender], Random(0), prefix_tokens=600) is full


@pytest.mark.parametrize(("demoted_slots", "most_young"), [(0, 8), (1, 7), (4, 4), (8, 0)])
def test_past_probation_work_keeps_its_floor(demoted_slots, most_young):
    worker = Worker(8, probation_tokens=600, demoted_slots=demoted_slots)

    for num_young in range(9):
        found = gives_way(replace(worker, num_young=num_young), 0)
        assert found == (num_young < most_young)


def test_two_choices_spread_what_the_best_of_all_would_pile_up():
    """Several routers choose from the same reports: one that looks best is not chosen by all."""
    home = [Worker(tokens=float(place), name=str(place)) for place in range(10)]
    chosen = [choose(home, [], Random(seed)) for seed in range(200)]

    assert 20 <= chosen.count(home[0]) <= 60  # a fifth of the draws has it
    assert home[9] not in chosen


@pytest.mark.parametrize(("in_flight", "lent"), [(0, 4), (3, 1), (4, 0), (8, 0)])
def test_a_worker_without_probation_never_lends_half_of_its_slots(in_flight, lent):
    assert lendable_slots(Worker(in_flight=in_flight, slots=8)) == lent


@pytest.mark.parametrize(("in_flight", "lent"), [(0, 8), (7, 1), (8, 0)])
def test_one_that_protects_the_young_lends_every_idle_slot(in_flight, lent):
    assert lendable_slots(Worker(in_flight, slots=8, probation_tokens=600)) == lent


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
