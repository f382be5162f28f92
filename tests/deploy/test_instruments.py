"""The instruments of all programs: each name once, and what Prometheus makes of it."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from deploy.checks.instruments import Instrument, instruments

ROOT = Path(__file__).parents[2]


def test_no_name_is_used_twice_by_router_and_worker():
    twice = [name for name, times in Counter(i.name for i in instruments()).items() if times > 1]

    assert twice == []
    series = [one for instrument in instruments() for one in instrument.series]
    assert len(set(series)) == len(series)


def test_every_instrument_of_the_sources_is_found():
    """By counting the calls: a module of instruments that nobody told us of would be missing."""
    calls = [
        node.func.attr
        for package in ("router", "workers", "classifier", "proto")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr.startswith("create_")
        and node.func.attr.endswith(("_counter", "_gauge", "_histogram"))
    ]
    observed = [name for name in calls if "observable" in name]

    # The worker creates its observable ones in two loops, over six gauges and three counters.
    assert len(observed) == 2
    assert len(instruments()) == len(calls) - len(observed) + 9


def test_every_histogram_has_buckets_of_its_own():
    """The SDK's own begin at 5, which tells nothing of seconds."""
    histograms = [one for one in instruments() if one.kind == "histogram"]

    assert [one.name for one in histograms if not one.buckets] == []


@pytest.mark.parametrize(
    ("instrument", "series"),
    [
        (Instrument("ponder.router.shed", "", "counter"), ("ponder_router_shed_total",)),
        (Instrument("a.gpu_time", "s", "counter"), ("a_gpu_time_seconds_total",)),
        (Instrument("a.kv_bytes", "By", "gauge"), ("a_kv_bytes",)),
        (Instrument("a.pages.total", "{page}", "gauge"), ("a_pages_total",)),
        (Instrument("a.total.pages", "{page}", "counter"), ("a_pages_total",)),
        (Instrument("a.rate", "{token}/s", "gauge"), ("a_rate_per_second",)),
        (
            Instrument("a.wait", "s", "histogram"),
            tuple(f"a_wait_seconds{end}" for end in ("_bucket", "_sum", "_count")),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Instrument) else "",
)
def test_the_collector_adds_unit_and_type(instrument, series):
    assert instrument.series == series
