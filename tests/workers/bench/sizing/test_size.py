"""`ponder size` on a small past: too few workers keep no target, and load costs workers."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from classifier.errors import DatasetError
from classifier.traces.parquet import PartWriter, part_path
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.ledger import Ledger, LedgerConfig
from ponder.trace_rows import to_row
from tests.classifier.traces.conftest import MODEL, trace
from workers.bench.blocking.scenario import Result
from workers.bench.blocking.service import StepModel
from workers.bench.sizing.command import size
from workers.bench.sizing.past import FEWEST_TRACES, Past
from workers.bench.sizing.search import Demand, Search, Targets, Worker, easy_share

WORKER = Worker(slots=4, model=StepModel.roofline())
TARGETS = Targets(easy_p99_slowdown=3.0, load=0.8)
NUM_TRACES = 200
OPTIONS = ("--slots", "4", "--jobs", "150")


def settlements(count=NUM_TRACES):
    """Nine easy requests to a hard one, predicted as what they are, one every two seconds."""
    for index in range(count):
        is_hard = index % 10 == 9
        need = 700 + index if is_hard else 20 + index % 60
        yield trace(
            request_id=f"r{index}",
            thinking_tokens=need,
            answer_tokens=5,
            prior_hazards=hazards(above=500 if is_hard else 0),
            finished_at_s=1_000.0 + 2 * index,
        )


def hazards(above):
    """The need is in the first bin that is above, or the one after."""
    edges = np.array([*NEED_BIN_EDGES, np.inf])[:NUM_NEED_BINS]
    return tuple(np.where(edges > above, 0.7, 0.001).tolist())


@pytest.fixture(scope="module")
def past() -> Past:
    return Past.of(settlements())


@pytest.fixture
def parquet(tmp_path):
    with PartWriter(part_path(tmp_path, 1), MODEL) as part:
        for index, settlement in enumerate(settlements()):
            part.append(to_row(f"{index}-0", settlement, with_prompt=False))
    return tmp_path


def search(past, rate, **changes):
    demand = Demand(past=past, rate=rate, num_jobs=150)
    return replace(Search(demand, WORKER, TARGETS), **changes)


def run(*arguments, **environment):
    return CliRunner().invoke(size, arguments, env=environment)


def test_the_fewest_that_keep_the_targets_are_found(past):
    targets = Targets(easy_p99_slowdown=1.5, load=0.98)
    looked = search(past, rate=20.0, targets=targets)
    found = looked.find()

    assert found is not None
    assert found.result.easy_p99_slowdown <= targets.easy_p99_slowdown
    assert found.load <= targets.load
    assert found.easy >= 1
    assert found.thinking >= 1
    fewer = [c for c in looked.tried if c.easy + c.thinking < found.easy + found.thinking]
    assert not any(candidate.keeps for candidate in fewer)


@pytest.mark.parametrize("enough", [2, 3, 5, 6, 7, 8])
def test_the_search_ends_at_the_first_number_that_is_enough(past, enough):
    def slow_below(demand, worker, easy, thinking):
        slowdown = 1.2 if easy + thinking >= enough else 9.0
        return Result(slowdown, slowdown, mean_s=1.0, hard_p99_s=1.0, goodput=1.0)

    looked = search(past, rate=2.0, simulate=slow_below)
    found = looked.find()

    assert found is not None
    assert found.easy + found.thinking == enough


@pytest.mark.parametrize("fault", ["refused", "cut"])
def test_who_refuses_or_cuts_requests_does_not_keep_the_targets(past, fault):
    def simulate(demand, worker, easy, thinking):
        return replace(Result(1.0, 1.0, mean_s=1.0, hard_p99_s=1.0, goodput=1.0), **{fault: 0.1})

    assert search(past, rate=2.0, simulate=simulate).find() is None


def test_more_load_never_needs_fewer_workers(past):
    rates = (1.0, 4.0, 8.0, 16.0, 24.0)
    found = [search(past, rate).find() for rate in rates]

    counts = [candidate.easy + candidate.thinking for candidate in found if candidate]
    assert len(counts) == len(rates)
    assert counts == sorted(counts)
    assert counts[0] == 2 < counts[-1]


def test_a_tighter_target_never_needs_fewer_workers(past):
    counts = []
    for slowdown in (10.0, 3.0, 1.6):
        targets = Targets(easy_p99_slowdown=slowdown, load=0.95)
        found = search(past, 16.0, targets=targets).find()
        assert found is not None
        counts.append(found.easy + found.thinking)

    assert counts == sorted(counts)


def test_what_cannot_be_reached_is_given_up(past):
    looked = search(past, 2.0, targets=Targets(easy_p99_slowdown=1.0, load=0.8))

    assert looked.find() is None
    assert max(c.easy + c.thinking for c in looked.tried) == 8


def test_slower_workers_are_needed_in_larger_numbers(past):
    slow = Worker(slots=4, model=replace(WORKER.model, base_s=4 * WORKER.model.base_s))
    fast, slow_found = search(past, 8.0).find(), search(past, 8.0, worker=slow).find()

    assert fast is not None
    assert slow_found is not None
    assert slow_found.easy + slow_found.thinking > fast.easy + fast.thinking


def test_the_past_is_as_the_traces_say(past):
    assert past.outcomes.is_hard.mean() == 0.1
    # One every two seconds: 200 in 398 s, all within ten minutes.
    assert past.busiest_rate == pytest.approx(NUM_TRACES / 600)
    easy = sum(20 + i % 60 + 5 for i in range(NUM_TRACES) if i % 10 != 9)
    hard = sum(700 + i + 5 for i in range(NUM_TRACES) if i % 10 == 9)
    assert easy_share(past) == pytest.approx(easy / (easy + hard))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prior_hazards": ()}, f"0 of {NUM_TRACES} traces have a prediction"),
        ({"thinking_tokens": 3}, "all traces are of easy requests"),
    ],
)
def test_a_past_that_says_too_little_is_refused(changes, complaint):
    with pytest.raises(DatasetError, match=complaint):
        Past.of(trace(request_id=f"r{i}", **changes) for i in range(NUM_TRACES))


def test_from_parquet_it_prints_what_to_take(parquet):
    done = run("--traces", str(parquet), "--rate", "4", *OPTIONS)

    assert done.exit_code == 0, done.output
    assert "<- take these" in done.stdout
    assert f"like {NUM_TRACES} traces" in done.stdout


def test_json_lines_and_the_ledger_say_the_same_as_parquet(parquet, tmp_path, redis_url):
    lines = tmp_path / "traces.jsonl"
    rows = [to_row(f"{i}-0", s, with_prompt=False) for i, s in enumerate(settlements())]
    lines.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    sources = (("--traces", str(parquet)), ("--traces", str(lines)), ("--redis-url", redis_url))
    _settle(redis_url)

    documents = [json.loads(run(*s, "--rate", "4", "--json", *OPTIONS).stdout) for s in sources]

    assert documents[0]["workers"]["easy"] >= 1
    assert documents[0] == documents[1] == documents[2]


def _settle(redis_url):
    async def settle():
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        for settlement in settlements():
            await ledger.settle(settlement)
        await ledger.close()

    asyncio.run(settle())


def test_targets_that_nothing_keeps_are_exit_status_1(parquet):
    done = run("--traces", str(parquet), "--rate", "2", "--easy-p99", "1", *OPTIONS)

    assert done.exit_code == 1
    assert "no number of these keeps the targets" in done.stdout


def test_too_few_traces_are_told_in_one_line(tmp_path):
    lines = tmp_path / "traces.jsonl"
    row = to_row("1-0", next(settlements()), with_prompt=False)
    lines.write_text(f"{json.dumps(row)}\n")

    done = run("--traces", str(lines))

    assert done.exit_code == 1
    assert f"at least {FEWEST_TRACES} are needed" in done.output


def test_the_help_teaches(parquet):
    text = run("--help").stdout

    for words in ("ponder traces export", "easy p99", "WORKER_MAX_RUNNING", "--json"):
        assert words in text
