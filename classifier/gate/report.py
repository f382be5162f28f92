"""The verdict of the gate, for people and for programs."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from classifier.report import markdown_table

REPORT_VERSION: Final = 1

Verdict = Literal["passed", "refused", "not judged"]

_TITLE: Final = "# {verdict}: classifier `{candidate}` for `{model}`"
_COLUMNS: Final = ("check", "candidate", "champion", "limit", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the verdict. `remedy` says what to do where it is refused;
    `figures` are what it was decided by, plain numbers or null.
    """

    name: str
    verdict: Verdict
    candidate: str = "-"
    champion: str = "-"
    limit: str = "-"
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, *, passed: bool, remedy: str, **cells: Any) -> Self:
        """A check that was judged; the remedy is dropped where it passed."""
        verdict: Verdict = "passed" if passed else "refused"
        return cls(name=name, verdict=verdict, remedy="" if passed else remedy, **cells)

    def cells(self) -> list[str]:
        """As the columns of the table."""
        return [getattr(self, name if name != "check" else "name") for name in _COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What the gate found. Versions are empty where a file could not be read."""

    model: str
    candidate: str
    champion: str
    num_rows: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Every check was judged, and passed."""
        return bool(self.checks) and all(check.verdict == "passed" for check in self.checks)

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.verdict == "refused")

    def check(self, name: str) -> Check:
        """Raises KeyError for a check that there is not."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; what is no number is null."""
        record = {"report_version": REPORT_VERSION, "passed": self.passed, **asdict(self)}
        cleaned: dict[str, Any] = _plain(record)
        return cleaned

    def to_json(self) -> str:
        """One line."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises ValueError for what to_json did not write."""
        try:
            record = json.loads(text)
            if (version := record.pop("report_version")) != REPORT_VERSION:
                raise ValueError(f"not a gate report: report_version is {version!r}")
            passed = record.pop("passed")
            checks = tuple(Check(**check) for check in record.pop("checks"))
            report = cls(checks=checks, **record)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a gate report: {error!r}") from error
        if passed is not report.passed:
            raise ValueError("not a gate report: passed does not follow from its checks")
        return report

    def to_markdown(self) -> str:
        """The table, what to do about each refusal, and the figures behind it."""
        verdict = "Passed" if self.passed else "Refused"
        title = _TITLE.format(verdict=verdict, candidate=self.candidate, model=self.model)
        judged = f"Champion `{self.champion}`; judged by {self.num_rows} held-out requests."
        table = markdown_table(list(_COLUMNS), [check.cells() for check in self.checks])
        remedies = [f"- {line}" for line in self.remedies()]
        figures = [f"- {check.name}: {_in_words(check.figures)}" for check in self.checks]
        parts = [title, judged, table, "\n".join(remedies), "## Figures", "\n".join(figures)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def remedies(self) -> list[str]:
        """One line per refusal."""
        return [f"{check.name}: {check.remedy}" for check in self.checks if check.remedy]


def _in_words(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_rounded(value)}" for name, value in _flat(figures)) or "-"


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value


def _rounded(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
