"""The evaluation as a document: every figure with its 95 % interval, to and from JSON.

Made by evaluate.py; the report, the model card, the benchmark and its plot read nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MIX = "countdown-mix"
"""Name of the mix of Countdown sizes 4 to 6, with as many problems of each."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its 95 % interval, and how many trials it was computed from."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNDEFINED = Estimate(math.nan, math.nan, math.nan, 0)
"""What a figure without trials is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFigures:
    """What was measured on one family; figures that are not defined for it are left out.

    `accuracy` and `oracle` are by thinking budget. `gains` are what the accuracy rises from one
    tier to the next, by the larger budget; `oracle_gaps` what it lacks to the oracle at each tier,
    negative where the model is ahead. Both are paired by problem.
    """

    problems: int
    mean_thinking_tokens: float
    median_thinking_tokens: float
    accuracy: Mapping[int, Estimate]
    oracle: Mapping[int, Estimate]
    gains: Mapping[int, Estimate]
    oracle_gaps: Mapping[int, Estimate]
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation of one model. `families` include the mix."""

    split: str
    temperature: float
    seed: int
    seconds: float
    device: str
    families: Mapping[str, FamilyFigures]

    @property
    def mix(self) -> FamilyFigures:
        """The figures that the targets are set on."""
        return self.families[MIX]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read what `write` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        families = {name: _family(item) for name, item in document.pop("families").items()}
        return cls(**document, families=families)


def _family(item: dict[str, Any]) -> FamilyFigures:
    for name in ("accuracy", "oracle", "gains", "oracle_gaps"):
        item[name] = {int(budget): Estimate(**value) for budget, value in item[name].items()}
    item["figures"] = {name: Estimate(**value) for name, value in item["figures"].items()}
    return FamilyFigures(**item)
