"""The rules for Prometheus: what they ask for, and where each alarm is explained."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.checks.expressions import mistakes

_RECORDED = re.compile(r"^[a-z_]+:[a-z0-9_]+(:[a-z0-9_]+)?$")
_SEVERITIES = ("critical", "warning")


def read_rules(path: Path) -> list[dict[str, Any]]:
    """Of all groups, in their order. Raises KeyError, TypeError for what is no file of rules."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def recorded(rules: list[dict[str, Any]]) -> frozenset[str]:
    """The names of the series that the rules write."""
    return frozenset(rule["record"] for rule in rules if "record" in rule)


def check_rules(
    rules: list[dict[str, Any]], known: frozenset[str], runbook: Path, root: Path
) -> Iterator[str]:
    """`runbook` has a heading for each alarm; alarms name it by its path from `root`."""
    names = Counter(_name(rule) for rule in rules)
    yield from (f"{name}: is there twice" for name, times in names.items() if times > 1)
    anchors = heading_anchors(runbook.read_text())
    page = str(runbook.relative_to(root))
    for rule in rules:
        found = [*mistakes(rule["expr"], known), *_shape(rule), *_runbook(rule, page, anchors)]
        yield from (f"{_name(rule)}: {problem}" for problem in found)


def heading_anchors(markdown: str) -> frozenset[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings)


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule.get("record"))


def _shape(rule: dict[str, Any]) -> Iterator[str]:
    if "record" in rule:
        if not _RECORDED.match(rule["record"]):
            yield "a recorded series is called level:metric:operation"
        return
    if rule.get("labels", {}).get("severity") not in _SEVERITIES:
        yield f"severity must be one of {', '.join(_SEVERITIES)}"
    if not rule.get("annotations", {}).get("summary"):
        yield "has no summary"


def _runbook(rule: dict[str, Any], page: str, anchors: frozenset[str]) -> Iterator[str]:
    if "alert" not in rule:
        return
    where, _, anchor = str(rule.get("annotations", {}).get("runbook", "")).partition("#")
    if where != page or anchor != rule["alert"].lower():
        yield f"its runbook must be {page}#{rule['alert'].lower()}"
    if rule["alert"].lower() not in anchors:
        yield f"{page} has no heading {rule['alert']}"
