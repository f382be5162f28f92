import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

import workers
from workers.bench.soak import Soak, Tenth, _engine, bench_report, soak

REFERENCE = Path(workers.__file__).parent / "reference"


def test_a_short_soak_meets_every_event_and_leaks_nothing():
    result = CliRunner().invoke(soak, ["--seconds", "1.5", "--pages", "80", "--json", "-"])

    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["figures"]
    assert figures["page_leaks"] == figures["unfinished"] == figures["failed"] == 0
    assert figures["finished"] > 0
    assert figures["tokens_per_s_last_tenth"] > 0
    assert result.stderr.count("tokens/s") == 10


def test_a_leak_is_reported_and_fails_the_run(monkeypatch):
    monkeypatch.setattr(Soak, "leaked_pages", 3)

    result = CliRunner().invoke(soak, ["--seconds", "0.1"])

    assert result.exit_code != 0
    assert "3 pages leaked" in result.output


def test_the_report_compares_both_ends():
    work = Soak(_engine(REFERENCE, 100), Random(1))

    report = bench_report(work, [Tenth(100, 1.0, 0.5), Tenth(500, 1.0, 1.0), Tenth(99, 1.0, 1.0)])

    assert report.figures["last_over_first"] == pytest.approx(0.99)
    assert report.figures["seconds"] == 3.0
    assert report.controls["last_over_first_by_cpu"] == pytest.approx(99 / 200)


def test_a_first_tenth_without_a_token_is_reported_too():
    work = Soak(_engine(REFERENCE, 100), Random(1))

    report = bench_report(work, [Tenth(0, 0.1, 0.1), Tenth(9, 0.1, 0.1)])

    assert report.figures["last_over_first"] == 0.0
