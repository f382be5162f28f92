import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.engine.blocks import KvGeometry, PagePool


class PagePoolMachine(RuleBasedStateMachine):
    """Allocate, fork and release at random; the pool must account for every page."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(12)
        self.owners: list[list[int]] = []

    @precondition(lambda self: self.pool.num_free > 0)
    @rule(data=st.data())
    def allocate(self, data):
        count = data.draw(st.integers(1, self.pool.num_free))
        self.owners.append(self.pool.allocate(count))

    @precondition(lambda self: self.owners and self.pool.num_free > 0)
    @rule(data=st.data(), partial=st.booleans())
    def fork(self, data, partial):
        parent = data.draw(st.sampled_from(self.owners))
        fork = self.pool.fork(parent, tail_is_partial=partial)
        assert fork.pages[:-1] == parent[:-1]
        assert (fork.copy is None) == (fork.pages[-1] == parent[-1])
        self.owners.append(fork.pages)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data):
        index = data.draw(st.integers(0, len(self.owners) - 1))
        self.pool.release(self.owners.pop(index))

    @invariant()
    def every_page_is_accounted_for(self):
        self.pool.check(self.owners)


UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PagePoolMachine.TestCase.settings = UNTIMED
TestPagePool = PagePoolMachine.TestCase


def test_a_partial_tail_is_copied_and_full_pages_are_shared():
    pool = PagePool(10)
    parent = pool.allocate(3)

    child = pool.fork(parent, tail_is_partial=True)

    assert child.pages[:2] == parent[:2]
    assert child.copy == (parent[2], child.pages[2])
    assert pool.num_free == 5


def test_a_shared_page_is_free_when_its_last_owner_goes():
    pool = PagePool(4)
    parent = pool.allocate(2)
    child = pool.fork(parent, tail_is_partial=False)

    pool.release(parent)
    assert pool.num_free == 1
    pool.release(child.pages)

    assert pool.num_free == pool.capacity


def test_a_double_release_is_noticed():
    pool = PagePool(4)
    pages = pool.allocate(1)
    pool.release(pages)

    with pytest.raises(AssertionError, match="released twice"):
        pool.release(pages)


@UNTIMED
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 30), st.integers(1, 300), st.data())
def test_resident_pages_bound_what_any_chunk_needs(page_size, window, chunk, total, data):
    geometry = KvGeometry(
        page_size=page_size, sliding_window=window, bytes_per_page=1, max_chunk_tokens=chunk
    )
    start = data.draw(st.integers(0, total - 1))
    end = min(start + chunk, total)

    held = geometry.num_pages(end) - geometry.first_page(start)

    assert held <= geometry.resident_pages(total)
