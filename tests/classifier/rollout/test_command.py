"""`ponder classifier` on a real store: step by step, and what it refuses."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner, Result

from classifier.metadata import BLANK_VERSION, content_version
from classifier.predictor import DifficultyClassifier
from ponder import keys
from ponder.classifiers import ClassifierStore
from ponder.cli import main
from ponder.ledger import Ledger, LedgerConfig
from ponder.rollout import FILES, Rollout
from ponder.shadow import ShadowTally
from ponder.v1.budget_pb2 import TIER_MODERATE, TIER_SIMPLE

MODEL = "oracle"


def renamed(serialized: bytes, rows: int, model: str = MODEL) -> bytes:
    """A version of its own: the same graph that says it learned from so many rows."""
    proto = onnx.load_from_string(serialized)
    properties = {item.key: item for item in proto.metadata_props}
    metadata = json.loads(properties["ponder.classifier"].value)
    metadata |= {"training_rows": rows, "model": model}
    properties["ponder.classifier"].value = json.dumps(metadata, sort_keys=True)
    properties["ponder.version"].value = BLANK_VERSION
    version = content_version(proto.SerializeToString(deterministic=True))
    properties["ponder.version"].value = version
    return proto.SerializeToString(deterministic=True)


@pytest.fixture(scope="session")
def files(serialized, tmp_path_factory) -> list[Path]:
    """Three versions, of 1,000, 1,001 and 1,002 rows."""
    paths = [tmp_path_factory.mktemp("versions") / f"{i}.onnx" for i in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(renamed(serialized, 1_000 + number))
    return paths


@pytest.fixture
def run(redis_url: str) -> Callable[..., Result]:
    def run(command: str, *arguments: str) -> Result:
        line = ["classifier", command, "--redis-url", redis_url, *arguments]
        return CliRunner().invoke(main, line)

    return run


@pytest.fixture
def document(run) -> Callable[..., dict[str, Any]]:
    def document(*arguments: str) -> dict[str, Any]:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.output)
        return found

    return document


@pytest.fixture
def versions(document, files) -> list[str]:
    return [document("add", str(path))["version"] for path in files]


def in_ledger(url: str, use: Callable[[Ledger], Awaitable[Any]]) -> Any:
    async def opened() -> Any:
        ledger = Ledger.from_url(url, LedgerConfig(timeout_s=20))
        try:
            return await use(ledger)
        finally:
            await ledger.close()

    return asyncio.run(opened())


def test_what_is_added_is_listed_and_decides_nothing(document, run, versions):
    listed = document("list")

    assert [row["version"] for row in listed["versions"]] == versions[::-1]
    assert [row["training_rows"] for row in listed["versions"]] == [1_002, 1_001, 1_000]
    assert {row["stage"] for row in listed["versions"]} == {""}
    assert listed["rollout"]["champion"] == FILES
    table = run("list").output
    assert all(version in table for version in versions)
    assert "the routers' own files" in table


def test_step_by_step(document, run, versions):
    first, second, _ = versions
    document("promote", first, "--force")
    shadow = document("shadow", second)
    canary = document("canary", second, "--share", "0.1")
    promoted = document("promote", second, "--force", "--reason", "better")
    back = document("rollback", "--reason", "no better")

    assert (shadow["champion"], shadow["shadow"]) == (first, second)
    assert (canary["canary"], canary["canary_share"], canary["shadow"]) == (second, 0.1, "")
    assert (promoted["champion"], promoted["previous"], promoted["canary"]) == (second, first, "")
    assert (back["champion"], back["previous"]) == (first, "")
    history = document("show")["history"]
    assert [line["action"] for line in history] == [
        "rollback",
        "promote",
        "canary",
        "shadow",
        "promote",
    ]
    assert [line["reason"] for line in history[:2]] == ["no better", "better"]
    assert [line["revision"] for line in history] == [5, 4, 3, 2, 1]
    assert "no better" in run("show").output


def test_a_rollback_ends_the_canary_first(document, versions):
    document("promote", versions[0], "--force")
    document("canary", versions[1])

    ended = document("rollback")
    back = document("rollback")

    assert (ended["champion"], ended["canary"]) == (versions[0], "")
    assert back["champion"] == FILES


def test_trials_are_stopped(document, versions):
    document("shadow", versions[0])
    document("canary", versions[1])

    assert document("shadow", "--stop")["shadow"] == ""
    assert document("canary", "--stop")["canary"] == ""


def test_back_to_the_files_needs_no_gate(document, versions):
    document("promote", versions[0], "--force")

    assert document("promote", FILES)["champion"] == FILES


def test_a_version_may_be_shortened(document, versions):
    assert document("shadow", versions[0][:6])["shadow"] == versions[0]


def test_only_a_passed_gate_promotes(document, run, files, versions, tmp_path):
    refused = run("promote", versions[0])
    assert refused.exit_code == 1
    assert "no passed report of the gate" in refused.output

    report = tmp_path / "report.json"
    for passed in (False, True):
        report.write_text(json.dumps({"passed": passed, "candidate": versions[0], "checks": []}))
        document("add", str(files[0]), "--gate", str(report))
        assert run("promote", versions[0]).exit_code == (0 if passed else 1)
    assert document("show", versions[0])["gate_report"]["passed"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "it has no passed"),
        ('{"passed": "yes"}', "it has no passed"),
        ('{"passed": true, "candidate": "abc"}', "judges version abc"),
    ],
)
def test_a_report_on_something_else_is_refused(run, document, files, tmp_path, text, message):
    report = tmp_path / "report.json"
    report.write_text(text)

    result = run("add", str(files[0]), "--gate", str(report))

    assert result.exit_code == 1
    assert message in result.output
    assert run("list").exit_code == 1  # nothing was added


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda contents: contents[:-100], "not a readable ONNX graph"),
        (lambda contents: contents[:999] + b"x" + contents[1_000:], "do not match its version"),
        (lambda contents: b"", "not a readable ONNX graph"),
        (lambda contents: bytes((16 << 20) + 1), "no router loads"),
    ],
)
def test_a_file_that_no_router_would_load_is_refused(run, files, tmp_path, spoil, message):
    path = tmp_path / "spoilt.onnx"
    path.write_bytes(spoil(files[0].read_bytes()))

    result = run("add", str(path))

    assert result.exit_code == 1
    [line] = result.output.splitlines()
    assert str(path) in line
    assert message in line


def test_a_version_shows_what_it_learned_from_and_how_it_did(document, run, redis_url, versions):
    version, now_s = versions[1], time.time()

    async def count(ledger: Ledger) -> None:
        tally = ShadowTally(failed=1)
        tally.add(TIER_SIMPLE, TIER_SIMPLE, 100)
        tally.add(TIER_SIMPLE, TIER_MODERATE, 300)
        await ClassifierStore.beside(ledger).add_shadow(MODEL, version, tally, now_s)
        key = keys.outcomes(MODEL, version, None, int(now_s // 3_600) * 3_600)
        fields = {"1:d": 200, "1:m": 30, "1:e": 25_500_000, "2:d": 10, "2:m": 1, "2:e": 500_000}
        for name, value in fields.items():
            await ledger.client.hset(key, name, str(value))

    in_ledger(redis_url, count)
    document("shadow", version)
    document("canary", versions[2])
    shown, text = document("show", version), run("show", version).output

    assert (shown["decided"], shown["missed"], shown["expected"]) == (210, 31, 26.0)
    assert shown["metadata"]["training_rows"] == 1_001
    assert shown["shadow"]["tiers"]["simple"]["moderate"] == 1
    assert (shown["shadow"]["agreed"], shown["shadow"]["compared"]) == (1, 2)
    assert shown["shadow"]["mean_ms"] == pytest.approx(0.2)
    assert shown["history"][0]["shadow"] == version
    assert "50.0% of 2 agree, 1 failed, 0.20 ms each" in text
    assert "thinking tokens" in text
    assert f"shadow {version}" in run("show").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shadow",), "either a version or --stop"),
        (("canary", "abcd", "--stop"), "either a version or --stop"),
        (("canary", "abcd", "--share", "0.6"), "--share"),
        (("canary", "abcd", "--share", "0"), "--share"),
        (("promote",), "Missing argument"),
    ],
)
def test_a_wrong_use_is_told(run, arguments, message):
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_what_makes_no_sense_is_refused_in_one_line(run, document, versions):
    document("promote", versions[0], "--force")
    for arguments, message in (
        (("promote", versions[0], "--force"), "champion already"),
        (("canary", versions[0]), "decides already"),
        (("canary", "--stop"), "no canary"),
        (("shadow", "--stop"), "no shadow"),
        (("shadow", "f" * 16), "no version ffff"),
        (("shadow", ""), "give more digits"),
        (("show", versions[0][:2]), "no version"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        [line] = result.output.splitlines()
        assert message in line, line
    assert len(document("show")["history"]) == 1


def test_an_empty_store_says_what_to_do(run):
    result = run("list")

    assert result.exit_code == 1
    assert "ponder classifier add" in result.output


def test_of_several_models_one_is_chosen(run, document, files, serialized, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(renamed(serialized, 5, model="other"))
    for path in (files[0], other):
        document("add", str(path))

    assert "choose one with --model" in run("list").output
    (row,) = document("list", "--model", "other")["versions"]
    assert row["version"] == DifficultyClassifier.load(other).version


def test_an_unreadable_rollout_names_its_key(run, redis_url, versions):
    async def spoil(ledger: Ledger) -> None:
        store = ClassifierStore.beside(ledger)
        await store.change(MODEL, Rollout(), action="x", reason="", changed_by="")
        await ledger.client.hset(keys.rollout(MODEL), "canary_share", "much")

    in_ledger(redis_url, spoil)

    for command in (("list",), ("shadow", versions[0])):
        result = run(*command)
        assert result.exit_code == 1
        assert "ponder:{oracle}:rollout in Redis: canary_share" in result.output


def test_a_spoilt_file_in_the_store_is_named(run, redis_url, versions):
    async def spoil(ledger: Ledger) -> None:
        await ledger.client.hset(keys.classifiers(MODEL), versions[0], b"gone bad")

    in_ledger(redis_url, spoil)

    result = run("show", versions[0])
    assert result.exit_code == 1
    assert "add it again" in result.output


def test_a_change_that_somebody_overtook_is_told(run, versions, monkeypatch):
    async def overtaken(*arguments: Any, **options: Any) -> bool:
        return False

    monkeypatch.setattr(ClassifierStore, "change", overtaken)

    result = run("shadow", versions[0])
    assert result.exit_code == 1
    assert "somebody else changed the rollout" in result.output
