"""What chaos found: one row per scenario, and which promises were broken."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from ponder.figures import processor_name, source_commit

RECONCILED_WITHIN_S: Final = 30.0
_MOST: Final = {
    "failed_with_alternative": 0.0,
    "lost_reports": 0.0,
    "doubled_reports": 0.0,
    "restated_reports": 0.0,
    "unbalanced_books": 0.0,
    "hung_worker_seconds": 3.0,
    "drain_errors": 0.0,
    "redis_gone_failures": 0.0,
    "retry_amplification": 1.1,
    "reconciled_s": RECONCILED_WITHIN_S,
}
"""The promises: no figure of a scenario is larger."""

_SUMS: Final = (
    "kills",
    "reports",
    "quarantined",
    "failed_with_alternative",
    "lost_reports",
    "doubled_reports",
    "restated_reports",
    "unbalanced_books",
    "drain_errors",
    "redis_gone_failures",
)
_MAXIMA: Final = ("hung_worker_seconds", "retry_amplification", "reconciled_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scenario. `details` are what failed, for a person to read."""

    scenario: str
    seconds: float
    figures: dict[str, float]
    details: list[str]

    def broken(self) -> list[str]:
        """The promises that it broke."""
        return [
            f"{self.scenario}: {name} is {self.figures[name]:g}, not at most {most:g}"
            for name, most in _MOST.items()
            if self.figures.get(name, 0.0) > most
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All scenarios of one run. `workers` says what answered: stand-ins or the reference model."""

    seed: int
    workers: str
    results: Sequence[Result]

    def totals(self) -> dict[str, float]:
        """Over all scenarios; only what was measured."""
        found: dict[str, float] = {}
        for names, combine in ((_SUMS, sum), (_MAXIMA, max)):
            for name in names:
                values = [one.figures[name] for one in self.results if name in one.figures]
                if values:
                    found[name] = combine(values)
        return found

    def broken(self) -> list[str]:
        """All broken promises, one line each."""
        return [line for result in self.results for line in result.broken()]

    def write(self, path: Path) -> None:
        """JSON, and the same to read beside it, as .md."""
        document = asdict(self) | {
            "totals": self.totals(),
            "broken": self.broken(),
            "device": processor_name(),
            "commit": source_commit(),
        }
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """For people."""
        lines = [f"# ponder chaos, seed {self.seed}, workers: {self.workers}", ""]
        lines += [f"On {processor_name()}, commit {source_commit()}.", ""]
        lines += ["| figure | all scenarios | promised |", "| --- | --- | --- |"]
        for name, value in self.totals().items():
            promise = f"at most {_MOST[name]:g}" if name in _MOST else ""
            lines.append(f"| {name} | {value:g} | {promise} |")
        for result in self.results:
            lines += ["", f"## {result.scenario}, {result.seconds:.0f} s", ""]
            lines += [f"- {name}: {value:g}" for name, value in result.figures.items()]
            lines += [f"- {detail}" for detail in result.details]
        lines += ["", *(f"BROKEN {line}" for line in self.broken())]
        return "\n".join(lines).rstrip() + "\n"

    def table(self) -> Table:
        """One row per scenario."""
        table = Table(title=f"chaos, seed {self.seed}, workers: {self.workers}")
        for column in ("scenario", "s", "reports", "failed", "lost", "doubled", "besides"):
            table.add_column(
                column, justify="left" if column in ("scenario", "besides") else "right"
            )
        shown = {"reports", "failed_with_alternative", "lost_reports", "doubled_reports"}
        for one in self.results:
            besides = (f"{name} {value:g}" for name, value in one.figures.items() if value)
            table.add_row(
                one.scenario,
                f"{one.seconds:.0f}",
                f"{one.figures['reports']:,.0f}",
                f"{one.figures['failed_with_alternative']:.0f}",
                f"{one.figures['lost_reports']:.0f}",
                f"{one.figures['doubled_reports']:.0f}",
                ", ".join(text for text in besides if text.split()[0] not in shown),
            )
        return table
