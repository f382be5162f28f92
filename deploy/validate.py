"""python -m deploy.validate: manifests, overlays, Dockerfiles, dashboards. For people and CI.

Needs no cluster. Which checks these are is in deploy/checks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.checks.dockerfiles import check_dockerfiles
from deploy.checks.manifests import Manifests
from deploy.checks.monitoring import check_monitoring, check_scaling, coverage
from deploy.checks.network import check_network
from deploy.checks.policy import check_policy
from deploy.checks.programs import check_programs
from deploy.checks.references import check_references
from deploy.checks.rendering import RenderError, overlay, plain
from deploy.checks.schemas import VERSIONS, check_schemas

DEPLOY = Path(__file__).resolve().parent
_CONSTRAINTS = DEPLOY / "constraints.txt"
_ADDED = ("promote", "restore")
_CHECKS = (
    *(check_schemas, check_policy, check_references, check_programs, check_network),
    check_scaling,
)


def main() -> int:
    """Returns the exit status; every problem is one line on standard error."""
    num_problems = _report("docker", list(check_dockerfiles(DEPLOY / "docker", _CONSTRAINTS)))
    found = list(check_monitoring(DEPLOY / "monitoring", DEPLOY / "README.md"))
    num_problems += _report(f"monitoring ({coverage()})", found)
    for name in renderings():
        try:
            manifests = render(name)
        except RenderError as error:
            num_problems += _report(name, [str(error)])
            continue
        found = list(problems(manifests))
        num_problems += _report(f"{name}: {len(manifests.objects)} objects", found)
    if not num_problems:
        print(f"valid for Kubernetes {', '.join(VERSIONS)}")
    return int(num_problems > 0)


def renderings() -> list[str]:
    """The folders that are applied: deploy itself, what is added to it, and every overlay."""
    found = DEPLOY.glob("overlays/*/kustomization.yaml")
    return ["deploy", *_ADDED, *sorted(path.parent.name for path in found)]


def render(name: str) -> Manifests:
    """The objects of a rendering, with those that it is added to. Raises RenderError."""
    if name == "deploy":
        return plain(DEPLOY)
    return plain(DEPLOY, DEPLOY / name) if name in _ADDED else overlay(DEPLOY / "overlays" / name)


def problems(manifests: Manifests) -> Iterator[str]:
    """Everything that is wrong with them."""
    for check in _CHECKS:
        yield from check(manifests)


def _report(subject: str, found: list[str]) -> int:
    print(f"{subject}: {f'{len(found)} problems' if found else 'ok'}", flush=True)
    for problem in found:
        print(f"  {problem}", file=sys.stderr, flush=True)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
