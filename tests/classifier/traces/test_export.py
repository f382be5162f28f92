"""The ledger's traces as Parquet: all of them, once, whatever happens to the export."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from classifier.errors import DatasetError
from classifier.traces.exporter import Exporter
from classifier.traces.parquet import parquet_models, read_parquet_traces, trace_schema
from ponder.cli import main
from ponder.trace_rows import TRACE_FIELDS
from tests.classifier.traces.conftest import MODEL, trace

KILLED_EXPORT = Path(__file__).parent / "programs" / "killed_export.py"


def exporter(root: Path, max_rows: int = 50, with_prompts: bool = True) -> Exporter:
    return Exporter(root, max_rows=max_rows, with_prompts=with_prompts, advance=lambda: None)


def read_back(root: Path, model: str | None = None):
    return [settlement for _, settlement in read_parquet_traces(root, model)]


async def test_what_is_exported_is_read_back_in_parts_of_bounded_size(ledger, settle, tmp_path):
    settled = await settle(11)

    assert await exporter(tmp_path, max_rows=5).export(ledger, MODEL) == 11

    assert read_back(tmp_path) == settled
    parts = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    assert parts == ["part-000001.parquet", "part-000002.parquet", "part-000003.parquet"]
    assert [pq.read_metadata(part).num_rows for part in sorted(tmp_path.rglob("*.parquet"))] == [
        5,
        5,
        1,
    ]


async def test_more_than_a_row_group_in_one_part_is_read_back(ledger, tmp_path):
    many = [(f"{i}-0", trace(request_id=f"r{i}")) for i in range(1, 4_503)]

    class Stored:
        async def read_traces(self, model, after_id):
            for pair in many:
                yield pair

    await exporter(tmp_path, max_rows=50_000).export(Stored(), MODEL)  # type: ignore[arg-type]

    assert list(read_parquet_traces(tmp_path)) == many
    [part] = tmp_path.rglob("*.parquet")
    assert pq.read_metadata(part).num_row_groups == 3


async def test_another_export_goes_on_after_the_last_trace(ledger, settle, tmp_path):
    first = await settle(7)
    await exporter(tmp_path, max_rows=5).export(ledger, MODEL)
    assert await exporter(tmp_path, max_rows=5).export(ledger, MODEL) == 0
    later = await settle(4, first=7)

    assert await exporter(tmp_path, max_rows=5).export(ledger, MODEL) == 4

    assert read_back(tmp_path) == first + later


@pytest.mark.parametrize("killed_at", [1, 5, 6, 12])
async def test_an_export_that_was_killed_goes_on_without_loss_or_repetition(
    ledger, settle, redis_url, tmp_path, killed_at
):
    settled = await settle(13)
    arguments = [redis_url, str(tmp_path), MODEL, "5", str(killed_at)]

    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(KILLED_EXPORT), *arguments], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    whole = sorted(path.name for path in tmp_path.rglob("*.parquet"))
    assert len(whole) == (killed_at - 1) // 5
    await exporter(tmp_path, max_rows=5).export(ledger, MODEL)

    assert read_back(tmp_path) == settled
    assert not list(tmp_path.rglob("*.partial"))


async def test_an_export_that_fails_leaves_whole_parts_only(ledger, settle, tmp_path):
    settled = await settle(8)

    def fail() -> None:
        raise RuntimeError("disk on fire")

    failing = Exporter(tmp_path, max_rows=5, with_prompts=True, advance=fail)
    with pytest.raises(RuntimeError):
        await failing.export(ledger, MODEL)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    await exporter(tmp_path).export(ledger, MODEL)
    assert read_back(tmp_path) == settled


async def test_models_whose_names_are_paths_stay_below_the_folder(ledger, settle, tmp_path):
    names = ["..", "/etc", "a b"]
    for name in names:
        await settle(1, model=name)
        await exporter(tmp_path / "out").export(ledger, name)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert parquet_models(tmp_path) == sorted(names)
    assert [t.model for t in read_back(tmp_path, "a b")] == ["a b"]


async def test_two_exports_do_not_write_one_folder(ledger, settle, tmp_path):
    await settle(3)
    first, second = exporter(tmp_path), exporter(tmp_path)

    class Meanwhile:
        async def read_traces(self, model, after_id):
            with pytest.raises(DatasetError, match="another export is writing"):
                await second.export(ledger, MODEL)
            async for pair in ledger.read_traces(model, after_id=after_id):
                yield pair

    assert await first.export(Meanwhile(), MODEL) == 3  # type: ignore[arg-type]


async def test_traces_from_before_a_time_are_skipped(ledger, settle, tmp_path):
    await settle(2)
    [(last_id, _)] = [pair async for pair in ledger.read_traces(MODEL)][-1:]
    last_s = int(last_id.split("-")[0]) / 1e3

    assert await exporter(tmp_path / "after").export(ledger, MODEL, since_s=last_s + 1) == 0
    assert await exporter(tmp_path / "from").export(ledger, MODEL, since_s=last_s - 60) == 2


async def test_the_files_describe_their_columns(ledger, settle, tmp_path):
    await settle(1)
    await exporter(tmp_path).export(ledger, MODEL)

    [part] = tmp_path.rglob("*.parquet")
    schema = pq.read_schema(part)
    assert schema.equals(trace_schema(), check_metadata=False)
    assert {f.name: f.metadata[b"meaning"].decode() for f in schema} == {
        field.name: field.meaning for field in TRACE_FIELDS
    }
    assert schema.metadata[b"ponder.trace_schema_version"] == b"1"


async def test_the_command_leaves_prompts_out_unless_asked(ledger, settle, redis_url, tmp_path):
    settled = await settle(2)

    def run(*arguments: str):
        command = ["traces", "export", "--redis-url", redis_url, *arguments]
        return CliRunner().invoke(main, command)

    without = await asyncio.to_thread(run, "--out", str(tmp_path / "without"))
    kept = await asyncio.to_thread(run, "--out", str(tmp_path / "with"), "--with-prompts")

    assert (without.exit_code, kept.exit_code) == (0, 0)
    assert f"{MODEL}: 2 traces written" in without.output
    assert [t.prompt for t in read_back(tmp_path / "without")] == [None, None]
    assert read_back(tmp_path / "with") == settled


async def test_a_damaged_part_is_named(ledger, settle, tmp_path):
    await settle(20)
    await exporter(tmp_path).export(ledger, MODEL)
    [part] = tmp_path.rglob("*.parquet")
    contents = bytearray(part.read_bytes())
    contents[4:400] = bytes(396)
    part.write_bytes(contents)

    with pytest.raises(DatasetError, match=r"part-000001\.parquet: no whole Parquet file"):
        read_back(tmp_path)


def other_version() -> pa.Table:
    metadata = {
        "ponder.trace_schema_version": "2",
        "ponder.model": "m",
        "ponder.last_trace_id": "1-0",
    }
    return pa.table({"a": [1]}).replace_schema_metadata(metadata)


def test_files_that_are_no_traces_are_named(tmp_path):
    broken, foreign, later = (tmp_path / f"{name}.parquet" for name in ("a", "b", "c"))
    broken.write_bytes(b"PAR1 nonsense")
    pq.write_table(pa.table({"a": [1]}), foreign)
    pq.write_table(other_version(), later)

    for path, message in (
        (broken, "a.parquet: no whole Parquet file"),
        (foreign, "b.parquet: not written by `ponder traces export`"),
        (later, "c.parquet: its schema is version 2"),
        (tmp_path / "missing.parquet", "missing.parquet: No such file"),
        (tmp_path, "no part-"),
    ):
        with pytest.raises(DatasetError, match=message):
            list(read_parquet_traces(path))
