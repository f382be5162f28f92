"""Dashboards, rules and alarms, against the instruments that the programs create."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.checks.dashboards import check_dashboards
from deploy.checks.expressions import mistakes
from deploy.checks.instruments import instruments, known_series
from deploy.checks.manifests import Manifests, title
from deploy.checks.rules import check_rules, read_rules, recorded

PROMTOOL = "promtool"
_TIMEOUT_S = 120


def check_monitoring(directory: Path, runbook: Path) -> Iterator[str]:
    """`directory` holds dashboards/, rules.yaml and its tests. promtool is used where it is."""
    rules = read_rules(directory / "rules.yaml")
    written = recorded(rules)
    known = frozenset(known_series(instruments())) | written
    dashboards = sorted((directory / "dashboards").glob("*.json"))
    yield from check_rules(rules, known, runbook, runbook.parents[1])
    yield from check_dashboards(dashboards, known)
    yield from _listed(directory, dashboards)
    if promtool := shutil.which(PROMTOOL):
        yield from _promtool(promtool, "check", directory / "rules.yaml")
        yield from _promtool(promtool, "test", directory / "rules.test.yaml")


def check_scaling(manifests: Manifests) -> Iterator[str]:
    """What autoscalers ask Prometheus for is told by the programs."""
    known = frozenset(known_series(instruments()))
    for scaler in manifests.of_kind("ScaledObject"):
        for trigger in scaler["spec"].get("triggers", ()):
            for problem in mistakes(trigger["metadata"]["query"], known):
                yield f"{title(scaler)}: {problem}"


def coverage() -> str:
    """What stands behind an ok, for the reader of the output."""
    found = shutil.which(PROMTOOL)
    return (
        "checked and tested by promtool"
        if found
        else ("promtool not found: rules checked for shape only")
    )


def _listed(directory: Path, dashboards: list[Path]) -> Iterator[str]:
    generated = yaml.safe_load((directory / "kustomization.yaml").read_text())["configMapGenerator"]
    listed = {file for one in generated for file in one["files"] if file.startswith("dashboards/")}
    for path in sorted(listed ^ {f"dashboards/{path.name}" for path in dashboards}):
        yield f"{path}: is not both a file and in kustomization.yaml"


def _promtool(promtool: str, verb: str, path: Path) -> Iterator[str]:
    command = [promtool, verb, "rules", path.name]
    done = subprocess.run(
        command,
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        text = " ".join(f"{done.stdout}\n{done.stderr}".split())
        yield f"promtool {verb} rules {path.name}: {text}"
