"""python proto/generate.py [--check]: rewrite the committed stubs, or fail when they are stale.

The output differs between generator versions, so any version but the pinned ones is refused.
The generator is the oldest release supported at run time: its stubs set the floors of grpcio and
protobuf in pyproject.toml.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PINNED = {"grpcio-tools": "1.75.1", "mypy-protobuf": "5.1.0"}
ROOT = Path(__file__).resolve().parent
SOURCES = sorted(ROOT.glob("ponder/v1/*.proto"))
STUB_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def wrong_versions() -> list[str]:
    """One line per generator that is missing or not the pinned version."""
    problems = []
    for package, pinned in PINNED.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "not installed"
        if found != pinned:
            problems.append(f"{package} is {found}; run: pip install {package}=={pinned}")
    return problems


def generate(out: Path) -> None:
    """Write the stubs of every source under `out`. Raises CalledProcessError on a bad source."""
    out.mkdir(parents=True, exist_ok=True)
    bin_dir = Path(sys.executable).parent
    plugins = [
        f"--plugin={name}={shutil.which(name, path=str(bin_dir)) or name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    sources = [str(path.relative_to(ROOT)) for path in SOURCES]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *plugins, *outputs, *sources]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


def stubs(root: Path) -> set[Path]:
    """Generated files under `root`, relative to it."""
    found = (path for pattern in STUB_PATTERNS for path in root.glob(f"ponder/v1/{pattern}"))
    return {path.relative_to(root) for path in found}


def stale_stubs() -> list[Path]:
    """Committed stubs that are missing, superfluous or different from what the sources give."""
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory)
        generate(fresh)
        names = stubs(fresh) | stubs(ROOT)
        return sorted(name for name in names if not _same(fresh / name, ROOT / name))


def _same(left: Path, right: Path) -> bool:
    return left.exists() and right.exists() and filecmp.cmp(left, right, shallow=False)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args(arguments).check
    if problems := wrong_versions():
        print("\n".join(problems), file=sys.stderr)
        return 2
    try:
        if not check:
            generate(ROOT)
        stale = stale_stubs() if check else []
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return 1
    for name in stale:
        print(f"stale: proto/{name}; run: python proto/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
