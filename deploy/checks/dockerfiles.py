"""The Dockerfiles and the lock files that they install from; hadolint does the general part."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_HADOLINT = Path(sys.executable).with_name("hadolint")
_TIMEOUT_S = 60
_FROM = re.compile(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
_LAST_USER = re.compile(r"^USER\s+(\S+)", re.MULTILINE)
_ENTRYPOINT = re.compile(r"^ENTRYPOINT\s+\[", re.MULTILINE)
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_BASE = re.compile(r":[\w.-]+@sha256:[0-9a-f]{64}$")


def check_dockerfiles(directory: Path, constraints: Path) -> Iterator[str]:
    """Messages begin with the name of the file."""
    for path in sorted(directory.glob("*.Dockerfile")):
        yield from _lint(path)
        yield from (f"{path.name}: {problem}" for problem in _stages(path.read_text()))
    known = _pins(constraints)
    for path in sorted(directory.glob("*.lock")):
        yield from (f"{path.name}: {problem}" for problem in _lock(path, known))


def _lint(path: Path) -> Iterator[str]:
    command = [str(_HADOLINT), "--no-color", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    yield from (line.removeprefix(f"{path.parent}/") for line in done.stdout.splitlines() if line)
    if done.returncode and not done.stdout:
        yield f"{path.name}: hadolint failed: {done.stderr.strip()}"


def _stages(text: str) -> Iterator[str]:
    stages: set[str] = set()
    found = list(_FROM.finditer(text))
    for base, name in (match.groups() for match in found):
        is_stage = base in stages or "${" in base
        if not is_stage and not _BASE.search(base):
            yield f"base image {base} is not given by tag and digest"
        stages.add(name)
    last = text[found[-1].start() :]
    users = _LAST_USER.findall(last)
    if not users or users[-1].split(":")[0] in ("root", "0"):
        yield "the last stage runs as root"
    if not _ENTRYPOINT.search(last):
        yield "no ENTRYPOINT in exec form: a shell would keep SIGTERM to itself"


def _lock(path: Path, known: dict[str, str]) -> Iterator[str]:
    """A lock may hold what the constraints do not: packages for CUDA only, as torch pins them."""
    for name, version in _pins(path).items():
        if known.get(name, version) != version:
            yield f"{name} {version}, but {known[name]} was tested: run `make locks`"


def _pins(path: Path) -> dict[str, str]:
    return {_normal(name): version for name, version in _PINNED.findall(path.read_text())}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
