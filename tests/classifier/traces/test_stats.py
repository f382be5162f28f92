"""What traces add up to, against traces made by hand."""

import asyncio
import json

import numpy as np
import pytest
from click.testing import CliRunner

from classifier.traces.exporter import Exporter
from classifier.traces.statistics import Statistics, predicted_p90
from ponder.bins import NUM_NEED_BINS
from ponder.cli import main
from ponder.v1 import budget_pb2
from tests.classifier.traces.conftest import MODEL, trace

FINISHED = budget_pb2.THINKING_STOP_FINISHED
EXHAUSTED = budget_pb2.THINKING_STOP_EXHAUSTED
CANCELLED = budget_pb2.THINKING_STOP_CANCELLED
SIMPLE, MODERATE = budget_pb2.TIER_SIMPLE, budget_pb2.TIER_MODERATE
# Half of the needs in bin 0, half in bin 3: nine tenths need up to 35 + 0.8 * (50 - 35) tokens.
UP_TO_50 = (0.5, 0.0, 0.0, 1.0, *(0.0,) * (NUM_NEED_BINS - 4))
BY_HAND = [
    trace(tier=SIMPLE, budget_tokens=50, thinking_tokens=10, answer_tokens=10),
    trace(tier=SIMPLE, budget_tokens=50, thinking_tokens=20, answer_tokens=20, probe_tokens=40),
    trace(tier=SIMPLE, budget_tokens=50, thinking_tokens=50, answer_tokens=0, stop=EXHAUSTED),
    trace(thinking_tokens=500, stop=EXHAUSTED, escalations=1, forced_tokens=100, answer_tokens=0),
]


def statistics_of(traces) -> Statistics:
    statistics = Statistics()
    for record in traces:
        statistics.add(record)
    return statistics


def test_figures_by_tier_and_stop():
    rows = dict(statistics_of(BY_HAND).rows())

    assert list(rows) == [
        (None, None),
        (SIMPLE, None),
        (SIMPLE, FINISHED),
        (SIMPLE, EXHAUSTED),
        (MODERATE, None),
        (MODERATE, EXHAUSTED),
    ]
    simple = rows[SIMPLE, None]
    assert (simple["requests"], simple["share"]) == (3, 0.75)
    assert simple["thinking_mean"] == pytest.approx(80 / 3)
    assert (simple["thinking_p50"], simple["thinking_p90"]) == (20, pytest.approx(44))
    assert simple["budget_hit_rate"] == pytest.approx(1 / 3)
    assert simple["probe_token_share"] == pytest.approx(40 / 150)
    assert simple["answer_tokens_mean"] == 10
    assert rows[None, None]["escalation_rate"] == 0.25
    assert rows[MODERATE, None]["forced_token_share"] == pytest.approx(100 / 600)


def test_the_predicted_p90_is_read_off_the_hazards():
    assert predicted_p90(trace(prior_hazards=UP_TO_50)) == pytest.approx(35 + 0.8 * 15)
    assert predicted_p90(trace(prior_hazards=(0.05,) * NUM_NEED_BINS)) is None
    assert predicted_p90(trace(prior_hazards=(0.9,) * 9)) is None  # of an older version
    assert predicted_p90(trace(prior_hazards=())) is None


def test_coverage_counts_needs_within_and_above_the_bound():
    needs = [10, 40, 46, 60]
    traces = [trace(thinking_tokens=need, prior_hazards=UP_TO_50) for need in needs]

    [(_, figures), *_] = statistics_of(traces).rows()

    assert (figures["p90_coverage"], figures["predicted"]) == (pytest.approx(0.75), 4)


def test_coverage_is_unmoved_by_requests_that_were_cut_short():
    rng = np.random.default_rng(3)
    needs = rng.lognormal(3.0, 0.6, 4_000).astype(int) + 1
    cuts = rng.integers(1, 60, 4_000)
    uncut = [trace(thinking_tokens=int(need), prior_hazards=UP_TO_50) for need in needs]
    cut = [
        trace(
            thinking_tokens=int(min(need, end)),
            prior_hazards=UP_TO_50,
            stop=FINISHED if need <= end else CANCELLED,
        )
        for need, end in zip(needs, cuts, strict=True)
    ]

    (_, truth), (_, seen) = statistics_of(uncut).rows()[0], statistics_of(cut).rows()[0]

    assert seen["p90_coverage"] == pytest.approx(truth["p90_coverage"], abs=0.02)
    assert seen["budget_hit_rate"] == 0


def test_without_a_prediction_there_is_no_coverage():
    [(_, figures), *_] = statistics_of([trace(prior_hazards=())]).rows()

    assert (figures["p90_coverage"], figures["predicted"]) == (None, 0)


async def test_the_ledger_and_its_export_give_the_same_table(ledger, redis_url, tmp_path):
    for i, record in enumerate(BY_HAND):
        await ledger.settle(trace_numbered(record, i))
    exporter = Exporter(tmp_path, max_rows=3, with_prompts=False, advance=lambda: None)
    await exporter.export(ledger, MODEL)

    live = await run("--redis-url", redis_url, "--json")
    stored = await run("--traces", str(tmp_path), "--json")
    table = await run("--traces", str(tmp_path))

    assert live.exit_code == stored.exit_code == table.exit_code == 0
    document = json.loads(live.output)
    assert document == json.loads(stored.output)
    assert document["all"]["requests"] == 4
    assert document["tiers"]["simple"]["stops"]["exhausted"]["requests"] == 1
    assert "moderate" in table.output


async def test_no_traces_is_an_error_that_says_what_to_check(ledger, settle, redis_url, tmp_path):
    nothing = await run("--redis-url", redis_url)
    await settle(1)
    other = await run("--redis-url", redis_url, "--model", "other")
    later = await run("--redis-url", redis_url, "--since", "2090-01-01")
    foreign = await run("--traces", str(tmp_path))

    assert [r.exit_code for r in (nothing, other, later, foreign)] == [1] * 4
    assert "no traces yet" in nothing.output
    assert "check --model and --since" in other.output
    assert "check --model and --since" in later.output
    assert f"{tmp_path}: no part-*.parquet" in foreign.output


def trace_numbered(record, number: int):
    return trace(
        request_id=f"r{number}",
        tier=record.tier,
        budget_tokens=record.budget_tokens,
        stop=record.stop,
        thinking_tokens=record.usage.thinking_tokens,
        answer_tokens=record.usage.answer_tokens,
    )


async def run(*arguments: str):
    return await asyncio.to_thread(CliRunner().invoke, main, ["traces", "stats", *arguments])
