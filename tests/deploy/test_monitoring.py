"""The dashboards and rules that are shipped, and the mistakes that are found in others."""

import json
import re
import shutil

import pytest
import yaml

from deploy.checks import monitoring
from deploy.checks.expressions import asked_by, mistakes
from deploy.checks.monitoring import PROMTOOL, check_monitoring
from deploy.checks.rules import heading_anchors
from deploy.validate import DEPLOY

KNOWN = frozenset({"ponder_router_requests_total"})


@pytest.fixture
def copied(tmp_path):
    """The shipped ones, to be broken."""
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY / "monitoring", deploy / "monitoring")
    shutil.copy(DEPLOY / "README.md", deploy / "README.md")
    return deploy


def found_in(deploy):
    return list(check_monitoring(deploy / "monitoring", deploy / "README.md"))


def change(path, edit):
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def with_rule(deploy, fields):
    path = deploy / "monitoring/rules.yaml"
    document = yaml.safe_load(path.read_text())
    document["groups"][-1]["rules"][-1] |= fields
    path.write_text(yaml.safe_dump(document))


def first_panel(document):
    return document["panels"][0]


def ask_for(expression):
    return lambda d: first_panel(d)["targets"][0].update(expr=expression)


def test_what_is_shipped_is_in_order(copied):
    assert found_in(copied) == []


DASHBOARD_MISTAKES = {
    "a misspelt metric": (
        ask_for("sum(rate(ponder_router_request_total[5m]))"),
        r"cost\.json: Requests answered: nothing tells ponder_router_request_total",
    ),
    "the name that OpenTelemetry knows it by": (
        ask_for("ponder_router_gpu_time"),
        r"nothing tells ponder_router_gpu_time$",
    ),
    "a misspelt label": (
        ask_for("sum by (teir) (rate(ponder_router_requests_total[5m]))"),
        r"nothing has the label teir",
    ),
    "a misspelt label in a filter": (
        ask_for('ponder_router_requests_total{tire="simple"}'),
        r"nothing has the label tire",
    ),
    "a legend of a label that was summed away": (
        ask_for("sum(rate(ponder_router_requests_total[5m]))"),
        r"shows the label tier, which the expression does not keep",
    ),
    "no PromQL": (ask_for("sum(rate("), r"is no PromQL"),
    "a range that is none": (ask_for("rate(ponder_router_requests_total)"), r"is no PromQL"),
    "a variable that is not there": (
        ask_for("ponder_router_requests_total * $price"),
        r"\$price is no variable",
    ),
    "a panel without a target": (
        lambda d: first_panel(d).update(targets=[]),
        r"\$\.panels\[0\]\.targets",
    ),
    "a panel of no type": (lambda d: first_panel(d).update(type="graph"), r"'graph' is not one of"),
    "a data source of one's own": (
        lambda d: first_panel(d).update(datasource={"type": "prometheus", "uid": "abc"}),
        r"\$\.panels\[0\]\.datasource",
    ),
    "panels over each other": (
        lambda d: first_panel(d)["gridPos"].update(y=1),
        r"panels lie over each other",
    ),
    "an id twice": (lambda d: first_panel(d).update(id=2), r"panel 2: is there twice"),
    "a uid twice": (lambda d: d.update(uid="ponder-pools"), r"uid ponder-pools: is there twice"),
}


@pytest.mark.parametrize("mistake", DASHBOARD_MISTAKES)
def test_a_mistake_in_a_dashboard_is_found_and_named(mistake, copied):
    edit, expected = DASHBOARD_MISTAKES[mistake]
    change(copied / "monitoring/dashboards/cost.json", edit)

    assert any(re.search(expected, problem) for problem in found_in(copied)), found_in(copied)


RULE_MISTAKES = {
    "a misspelt metric": (
        {"expr": "sum(ponder_router_reqests_total) > 0"},
        r"PonderCountsRejected: nothing tells ponder_router_reqests_total",
    ),
    "a severity of one's own": ({"labels": {"severity": "page"}}, r"severity must be one of"),
    "no runbook": (
        {"annotations": {"summary": "Something"}},
        r"its runbook must be deploy/README\.md#pondercountsrejected",
    ),
    "a heading that is not there": (
        {"alert": "PonderBurns"},
        r"PonderBurns: deploy/README\.md has no heading PonderBurns",
    ),
    "a name twice": ({"alert": "PonderSilent"}, r"PonderSilent: is there twice"),
}


@pytest.mark.parametrize("mistake", RULE_MISTAKES)
def test_a_mistake_in_a_rule_is_found_and_named(mistake, copied):
    fields, expected = RULE_MISTAKES[mistake]
    with_rule(copied, fields)

    assert any(re.search(expected, problem) for problem in found_in(copied)), found_in(copied)


def test_a_dashboard_that_nobody_would_load_is_found(copied):
    (copied / "monitoring/dashboards/pools.json").rename(
        copied / "monitoring/dashboards/workers.json"
    )

    assert len([p for p in found_in(copied) if "in kustomization.yaml" in p]) == 2


@pytest.mark.parametrize(
    ("expression", "series", "labels"),
    [
        ("a / on (x) group_left (y) b", {"a", "b"}, {"x", "y"}),
        ('topk(3, max by (z) (a{k="v"} offset 1h))', {"a"}, {"z", "k"}),
        ("max_over_time(sum(rate(a[5m]))[1h:1m]) or vector(0)", {"a"}, set()),
        ("-a:b:c unless ignoring (x) d", {"a:b:c", "d"}, {"x"}),
        ('{__name__="hidden"}', {""}, {"__name__"}),
    ],
)
def test_what_an_expression_asks_for(expression, series, labels):
    asked = asked_by(expression)

    assert (asked.series, asked.labels) == (series, labels)


def test_a_selector_without_a_name_is_no_way_around():
    assert "nothing tells " in list(mistakes('{__name__="hidden"}', KNOWN))


def test_anchors_are_githubs():
    anchors = heading_anchors("# A b-c\n\ntext\n\n### PonderFails (now)\n")

    assert anchors == {"a-b-c", "ponderfails-now"}


def test_without_promtool_it_is_said_and_with_it_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert monitoring.coverage() == "promtool not found: rules checked for shape only"
    assert found_in(DEPLOY) == []

    promtool = tmp_path / PROMTOOL
    promtool.write_text("#!/bin/sh\necho rule 3: no\nexit 1\n")
    promtool.chmod(0o755)
    found = found_in(DEPLOY)

    assert [p for p in found if "promtool check rules rules.yaml: rule 3: no" in p]
    assert [p for p in found if "promtool test rules rules.test.yaml" in p]
    assert monitoring.coverage() == "checked and tested by promtool"
