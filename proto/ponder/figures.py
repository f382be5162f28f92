"""What a benchmark reports: the one JSON document that every `ponder bench` writes."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Figures by name, with 95 % intervals for those that have them and the controls' own figures.

    `device` is what was measured, the processor of this machine unless a benchmark says more.
    """

    name: str
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    controls: Mapping[str, float] = field(default_factory=dict)
    device: str = field(default_factory=lambda: processor_name())
    commit: str = field(default_factory=lambda: source_commit())

    def write_json(self, path: str) -> None:
        """Write to a file, or to standard output for `-`. What is no number becomes null: JSON has
        no NaN.
        """
        document = json.dumps(_finite(asdict(self)), indent=2, allow_nan=False) + "\n"
        if path == "-":
            sys.stdout.write(document)
        else:
            Path(path).write_text(document, encoding="utf-8")


def _finite(value: Any) -> Any:
    """The same without NaN and infinities, which stand for what was not seen."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def processor_name() -> str:
    """Model and number of usable cores of this machine's processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor_model()}, {cores} cores"


def _processor_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def source_commit() -> str:
    """Commit of the checkout this runs from, "unknown" for an installed wheel."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
