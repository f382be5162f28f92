"""What is found in Dockerfiles and lock files that are not as they should be."""

import re

import pytest

from deploy.checks.dockerfiles import check_dockerfiles

BASE = f"FROM python:3.11-slim@sha256:{'0' * 64}"
GOOD = f'{BASE}\nUSER 65532\nENTRYPOINT ["python"]\n'

MISTAKES = {
    "a base by tag": (
        GOOD.replace(f"@sha256:{'0' * 64}", ""),
        "base image python:3.11-slim is not given by tag and digest",
    ),
    "root": (GOOD.replace("USER 65532\n", ""), "the last stage runs as root"),
    "a user of an earlier stage only": (f"{GOOD}{GOOD.replace('USER 65532', '')}", "runs as root"),
    "a shell as process 1": (GOOD.replace('["python"]', "python"), "no ENTRYPOINT in exec form"),
    "what hadolint finds": (GOOD.replace("USER", "WORKDIR app\nUSER"), "DL3000"),
}


def found_in(tmp_path, dockerfile, lock=""):
    (tmp_path / "some.Dockerfile").write_text(dockerfile)
    (tmp_path / "some.lock").write_text(lock)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("Jinja2==3.1.6\n")
    return list(check_dockerfiles(tmp_path, constraints))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_and_named(mistake, tmp_path):
    dockerfile, expected = MISTAKES[mistake]

    found = found_in(tmp_path, dockerfile)

    assert any(re.search(expected, problem) for problem in found), found


def test_a_dockerfile_and_a_lock_as_they_should_be_pass(tmp_path):
    assert found_in(tmp_path, GOOD, "jinja2==3.1.6 \\\n    --hash=sha256:0\ntriton==1.0\n") == []


def test_a_lock_that_differs_from_what_was_tested_is_found(tmp_path):
    [problem] = found_in(tmp_path, GOOD, "jinja2==3.1.5 \\\n    --hash=sha256:0\n")

    assert problem == "some.lock: jinja2 3.1.5, but 3.1.6 was tested: run `make locks`"
