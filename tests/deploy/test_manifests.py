"""What is shipped is valid; the checks that say so are in test_checks.py."""

import json

import pytest

from classifier.__main__ import main as classifier
from deploy.checks.dockerfiles import check_dockerfiles
from deploy.checks.environments import environment
from deploy.checks.monitoring import coverage
from deploy.validate import DEPLOY, main, problems, render, renderings


@pytest.mark.parametrize("name", renderings())
def test_everything_shipped_is_valid(name):
    assert list(problems(render(name))) == []


def test_the_dockerfiles_are_valid():
    assert list(check_dockerfiles(DEPLOY / "docker", DEPLOY / "constraints.txt")) == []


def test_validation_succeeds_and_names_every_rendering(capsys):
    assert main() == 0

    output = capsys.readouterr().out
    assert all(
        name in output for name in ("docker:", f"monitoring ({coverage()}): ok", *renderings())
    )


def test_a_folder_that_kubectl_applies_holds_no_kustomization():
    assert not list(DEPLOY.glob("kustomization*"))
    assert not list(DEPLOY.glob("*compose*"))


def test_the_retrain_job_runs_as_its_manifest_says(redis_url, tmp_path, capsys):
    manifests = render("deploy")
    [(_, container, _)] = [c for c in manifests.containers() if c[1]["name"] == "retrain"]
    variables = environment(container, manifests) | {"WORKER_REDIS_URL": redis_url}
    text = json.dumps(container["args"]).replace("/candidate", str(tmp_path))
    for name, value in variables.items():
        text = text.replace(f"$({name})", value)

    # A wrong argument would be exit status 2; an empty ledger is what a fresh cluster has.
    assert classifier(json.loads(text)) == 1
    assert "0 traces of ponder-reference in Redis" in capsys.readouterr().err
