"""When one tenant's needs double, its coverage comes back and nobody else notices."""

from itertools import islice

import numpy as np

from router.bench.online_course import VARIANTS, Course, poison_costs, run_course

HISTORY = 1_000


def coverage(found: Course, start: int, end: int) -> float:
    """From `start` to `end` requests after the shift."""
    part = islice(found.doubled, HISTORY + start, HISTORY + end)
    return float(np.mean([one.covered for one in part]))


async def test_coverage_is_back_within_500_requests_and_sooner_than_without_the_correction(
    redis_url,
):
    both, counts_only, nothing = [
        await run_course(redis_url, variant, 0, HISTORY, lambda: None) for variant in VARIANTS
    ]

    assert coverage(both, -500, 0) > 0.95
    assert coverage(both, 500, 1_000) > coverage(both, -500, 0) - 0.02
    assert coverage(both, 0, 500) > coverage(counts_only, 0, 500) + 0.02
    assert coverage(nothing, 500, 1_000) < coverage(nothing, -500, 0) - 0.05
    # The other tenant has counts and corrections of its own.
    assert np.mean([one.covered for one in both.steady[-300:]]) > 0.95


async def test_poison_stays_within_the_bounds_and_with_its_tenant(redis_url):
    await run_course(redis_url, VARIANTS[0], 0, HISTORY, lambda: None)

    costs = await poison_costs(redis_url, HISTORY)

    names = ("least", "none", "worst")
    least, none, worst = (costs[f"poison_{name}_budget_tokens"] for name in names)
    assert least < none < worst < 4 * none
    assert costs["poison_others_moved_tokens"] == 0.0
