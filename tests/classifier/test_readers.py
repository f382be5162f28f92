"""Traces from files and from a real ledger become the same outcomes, with prompts or without."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from classifier.columns import Columns
from classifier.errors import DatasetError
from classifier.features import encode
from classifier.readers import models_in, outcome_of, read_columns, read_json_lines, read_ledger
from classifier.traces.exporter import Exporter
from classifier.traces.parquet import PartWriter
from ponder.embedded_redis import EmbeddedRedis
from ponder.ledger import Ledger, LedgerConfig
from ponder.settlement import Settlement
from ponder.trace_rows import to_row
from ponder.v1 import budget_pb2, reasoner_pb2

ROW_FIELDS = tuple(Columns.__slots__)
PROMPT = "Reach 24 using each of 3, 5, 6 and 8 once."
IDS = tuple(encode(PROMPT).tolist())
RECORD: dict[str, Any] = {
    "prompt": PROMPT,
    "model": "reference",
    "thinking_tokens": 120,
    "budget_tokens": 500,
    "stop": "THINKING_STOP_FINISHED",
    "correct": True,
    "family": "countdown",
    "propensity": 1.0,
}
SETTLEMENT = Settlement(
    request_id="r1",
    tenant="t",
    model="reference",
    tier=budget_pb2.TIER_MODERATE,
    pool=budget_pb2.POOL_EASY,
    rule=reasoner_pb2.RULE_AUTOMATIC,
    budget_tokens=500,
    stop=budget_pb2.THINKING_STOP_EXHAUSTED,
    finish_reason=budget_pb2.FINISH_REASON_STOP,
    usage=budget_pb2.Usage(thinking_tokens=500),
    predicted_bin=None,
    prior_hazards=(),
    propensity=1.0,
    classifier_version="",
    features=IDS,
    prompt=None,
    segment=0,
    queue_ms=0.0,
    first_token_ms=0.0,
    worker="w",
    finished_at_s=1.0,
)


def same_rows(one: Columns, other: Columns) -> bool:
    return all(getattr(one, name).tolist() == getattr(other, name).tolist() for name in ROW_FIELDS)


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_record_with_features_equals_the_record_with_their_prompt(tmp_path):
    bare = {key: value for key, value in RECORD.items() if key != "prompt"} | {"features": IDS}
    with_prompt, with_features = read_json_lines(
        written(tmp_path / "t.jsonl", RECORD, bare), "reference"
    )

    assert with_prompt == with_features
    assert with_prompt.ids == IDS
    assert with_prompt.stop == budget_pb2.THINKING_STOP_FINISHED


def test_only_the_model_asked_for_is_read(tmp_path):
    path = written(tmp_path / "t.jsonl", RECORD, RECORD | {"model": "other"})

    assert len(list(read_json_lines(path, "other"))) == 1
    assert models_in([path]) == ["other", "reference"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thinking_tokens": -1}, "thinking_tokens is -1"),
        ({"thinking_tokens": True}, "thinking_tokens is True"),
        ({"budget_tokens": "500"}, "budget_tokens is '500'"),
        ({"stop": "THINKING_STOP_UNSPECIFIED"}, "must be one of THINKING_STOP_FINISHED"),
        ({"stop": None}, "stop is None"),
        ({"prompt": None}, "neither prompt"),
        ({"prompt": None, "features": ["1"]}, "neither prompt"),
        ({"model": None}, "model is missing"),
    ],
)
def test_malformed_record_is_refused_by_line_and_field(tmp_path, change, message):
    path = written(tmp_path / "t.jsonl", RECORD, RECORD | change)

    with pytest.raises(DatasetError, match=message) as error:
        list(read_json_lines(path, "reference"))
    assert f"{path}:2" in str(error.value)


@pytest.mark.parametrize(
    ("contents", "message"), [(b"{", "not JSON"), (b"[]", "model is missing"), (b"\xff", "UTF-8")]
)
def test_file_that_holds_no_records_is_refused(tmp_path, contents, message):
    path = tmp_path / "t.jsonl"
    path.write_bytes(contents)

    with pytest.raises(DatasetError, match=message):
        list(read_json_lines(path, "reference"))


def test_prompt_of_a_trace_counts_before_its_features():
    stale = replace(SETTLEMENT, features=(0, 1, 2), prompt=PROMPT)

    outcome = outcome_of(stale)

    assert outcome is not None
    assert outcome.ids == IDS


@pytest.mark.parametrize(
    "useless",
    [
        replace(SETTLEMENT, features=()),
        replace(SETTLEMENT, features=(0, *IDS[1:])),
        replace(SETTLEMENT, stop=budget_pb2.THINKING_STOP_UNSPECIFIED),
    ],
    ids=["no-features", "other-version", "no-stop"],
)
def test_trace_that_nothing_can_be_learned_from_is_left_out(useless):
    assert outcome_of(useless) is None


async def test_traces_of_a_real_ledger_are_read_without_their_prompts(tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as server:
        ledger = Ledger.from_url(server.url, LedgerConfig(timeout_s=20))
        await ledger.settle(SETTLEMENT)
        await ledger.settle(replace(SETTLEMENT, request_id="r2", features=()))
        outcomes = [outcome async for outcome in read_ledger(ledger, "reference")]
        await ledger.close()

    assert [outcome is None for outcome in outcomes] == [False, True]
    assert outcomes[0] == outcome_of(SETTLEMENT)


async def test_an_export_teaches_what_its_ledger_teaches(tmp_path):
    root, lines = tmp_path / "export", written(tmp_path / "t.jsonl", RECORD)
    with EmbeddedRedis(tmp_path / "redis") as server:
        ledger = Ledger.from_url(server.url, LedgerConfig(timeout_s=20))
        await ledger.settle(SETTLEMENT)
        await ledger.settle(replace(SETTLEMENT, request_id="r2", features=()))
        await ledger.settle(replace(SETTLEMENT, model="other"))
        exporter = Exporter(root, max_rows=10, with_prompts=False, advance=lambda: None)
        for model in ("reference", "other"):
            await exporter.export(ledger, model)
        outcomes = [outcome async for outcome in read_ledger(ledger, "reference")]
        await ledger.close()

    (rows,) = read_columns(root, "reference")
    assert same_rows(rows, Columns.of([outcome for outcome in outcomes if outcome]))
    assert models_in([root]) == models_in([root, lines]) == ["other", "reference"]


def part_of(folder: Path, *settlements: Settlement) -> Path:
    with PartWriter(path := folder / "part-000001.parquet", "reference") as part:
        for number, settlement in enumerate(settlements):
            part.append(to_row(f"{number}-0", settlement, with_prompt=True))
    return path


def test_columns_of_an_export_are_the_outcomes_of_its_traces(tmp_path):
    """Usable ones, useless ones, and one whose features have to be made anew from the prompt."""
    traces = [
        SETTLEMENT,
        replace(SETTLEMENT, features=()),
        replace(SETTLEMENT, stop=budget_pb2.THINKING_STOP_UNSPECIFIED),
        replace(SETTLEMENT, prompt=PROMPT, budget_tokens=50),
        replace(SETTLEMENT, tier=budget_pb2.TIER_UNSPECIFIED),
        replace(
            SETTLEMENT,
            tier=budget_pb2.TIER_COMPLEX,
            rule=reasoner_pb2.RULE_EXPLICIT_TIER,
            usage=budget_pb2.Usage(thinking_tokens=500, escalations=2),
            tier_propensities=(0.9, 0.1, 0.0, 0.0),
            tenant="other",
        ),
        replace(SETTLEMENT, prompt=PROMPT + " é", features=(0, 1)),
    ]

    (rows,) = read_columns(part_of(tmp_path, *traces), "reference")

    usable = [outcome for trace in traces if (outcome := outcome_of(trace))]
    assert len(usable) == 5
    assert same_rows(rows, Columns.of(usable))


def test_a_stop_of_a_later_version_is_refused_by_file(tmp_path):
    path = tmp_path / "part-000001.parquet"
    with PartWriter(path, "reference") as part:
        row = to_row("1-0", SETTLEMENT, with_prompt=False)
        part.append(row | {"stop": "THINKING_STOP_BORED"})

    with pytest.raises(DatasetError, match=r"000001\.parquet: stop is of a later version"):
        list(read_columns(path, "reference"))


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": budget_pb2.Usage(escalations=2)},  # of tier moderate
        {"tier_propensities": (0.5, 0.0, 0.5, 0.0)},  # moderate could not have happened
        {"tier_propensities": (0.5, 0.6, 0.0, 0.0)},
        {"tier_propensities": (0.0, 1.0)},
    ],
)
def test_a_decision_that_cannot_have_been_is_refused_by_file(tmp_path, changes):
    path = part_of(tmp_path, SETTLEMENT, replace(SETTLEMENT, **changes))

    with pytest.raises(DatasetError, match=r"000001\.parquet: tier_propensities, .* of 1 traces"):
        list(read_columns(path, "reference"))
