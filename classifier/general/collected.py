"""Collected prompts with human tiers, and with real outcomes; never a part of this repository.

A directory holds prompts.jsonl, whose rows have a tier, and outcomes.jsonl, whose rows have what
models did: the share that was right and the tokens of their answers.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import DatasetError
from classifier.features import encode, vectorize
from classifier.general.labels import SoftLabels
from classifier.general.prompts import GeneratedPrompt
from classifier.survival import TIER_BUDGETS, Floats

TIERS = tuple(TIER_BUDGETS)
GENERATED = "generated"
"""Source of the prompts that this project made."""
_RATES = ("pass_rate", "reasoning_pass", "nonreasoning_pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Prompts as arrays; every array has one entry per prompt.

    `tiers` is an index into TIERS, -1 where nobody gave one; then `answer_tokens` and `pass_rates`
    are known, which are NaN otherwise.
    """

    prompts: NDArray[np.object_]
    features: NDArray[np.float32]  # (num_prompts, NUM_FEATURES)
    tiers: NDArray[np.int64]
    answer_tokens: Floats
    pass_rates: Floats
    sources: NDArray[np.str_]
    sets: NDArray[np.str_]
    domains: NDArray[np.str_]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Raises DatasetError naming file, line, field and remedy."""
        rows = [_row(record, place) for record, place in _records(directory)]
        if not rows:
            raise DatasetError(f"{directory}: prompts.jsonl and outcomes.jsonl hold nothing")
        return cls._of(rows)

    @classmethod
    def of_generated(cls, prompts: Iterable[GeneratedPrompt]) -> Self:
        """The prompts that this project made."""
        return cls._of(
            [
                _Row(p.text, TIERS.index(p.tier), np.nan, np.nan, GENERATED, p.kind, p.language)
                for p in prompts
            ]
        )

    @classmethod
    def _of(cls, rows: "list[_Row]") -> Self:
        return cls(
            prompts=np.array([row.prompt for row in rows], dtype=object),
            features=np.stack([vectorize(encode(row.prompt)) for row in rows]),
            tiers=np.array([row.tier for row in rows]),
            answer_tokens=np.array([row.answer_tokens for row in rows]),
            pass_rates=np.array([row.pass_rate for row in rows]),
            sources=np.array([row.source for row in rows]),
            sets=np.array([row.set_name for row in rows]),
            domains=np.array([row.domain for row in rows]),
        )

    def __len__(self) -> int:
        return len(self.tiers)

    def __add__(self, other: Self) -> Self:
        """The rows of both."""
        fields = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in self.__slots__
        }
        return type(self)(**fields)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The rows of a mask, or of indices in their order."""
        return type(self)(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    @property
    def has_tier(self) -> NDArray[np.bool_]:
        """Which rows a person gave a tier; the others have outcomes."""
        given: NDArray[np.bool_] = self.tiers >= 0
        return given

    def labels(self) -> SoftLabels:
        """What is known of each need, in the order of the rows."""
        by_tier = self.rows(self.has_tier)
        by_outcome = self.rows(~self.has_tier)
        joined = SoftLabels.of_tiers(np.array(TIERS)[by_tier.tiers])
        if len(by_outcome):
            joined += SoftLabels.of_answers(by_outcome.answer_tokens, by_outcome.pass_rates)
        order = np.argsort(np.argsort(~self.has_tier, kind="stable"), kind="stable")
        return SoftLabels(joined.events[order], joined.at_risk[order])


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: str
    tier: int
    answer_tokens: float
    pass_rate: float
    source: str
    set_name: str
    domain: str


def _records(directory: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    for name in ("prompts.jsonl", "outcomes.jsonl"):
        path = directory / name
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror or error}") from error
        for number, line in enumerate(lines, start=1):
            place = f"{path}:{number}"
            try:
                yield json.loads(line), place
            except ValueError as error:
                raise DatasetError(f"{place}: not JSON ({error}): remove the line") from error


def _row(record: Mapping[str, Any], place: str) -> _Row:
    for name in ("prompt", "source"):
        if not isinstance(record.get(name), str):
            raise DatasetError(f"{place}: {name} is missing")
    tier, tokens, rate = -1, np.nan, np.nan
    if "tier" in record:
        tier = _tier(record, place)
    else:
        tokens, rate = _tokens(record, place), _pass_rate(record, place)
    places = (str(record.get(name, "")) for name in ("source", "set", "domain"))
    return _Row(record["prompt"], tier, tokens, rate, *places)


def _tier(record: Mapping[str, Any], place: str) -> int:
    if record["tier"] not in TIERS:
        raise DatasetError(f"{place}: tier must be one of {', '.join(TIERS)}")
    return TIERS.index(record["tier"])


def _tokens(record: Mapping[str, Any], place: str) -> float:
    if not isinstance(record.get("cot_tokens"), int | float):
        raise DatasetError(f"{place}: neither tier nor cot_tokens is given")
    return float(record["cot_tokens"])


def _pass_rate(record: Mapping[str, Any], place: str) -> float:
    """Of all models, or the mean over those that think and those that do not."""
    rates = [record[name] for name in _RATES if isinstance(record.get(name), int | float)]
    if not rates:
        raise DatasetError(f"{place}: none of {', '.join(_RATES)} is given")
    return float(np.mean(rates))
