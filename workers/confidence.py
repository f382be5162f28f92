"""What an answer's token probabilities say about its being right, as measured for one model."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from workers.errors import ConfidenceFileError

FILE_NAME = "confidence.json"


@dataclass(frozen=True, slots=True)
class ConfidenceMap:
    """Maps the mean probability of an answer's tokens to the probability that it is right.

    The mean is the geometric one. Of an answer that it guesses a model is still sure of most
    tokens, brackets for instance, so the mean alone promises too much. The map is piecewise linear
    through `knots`, pairs of mean and probability that ascend in both; without knots it changes
    nothing.
    """

    knots: tuple[tuple[float, float], ...] = ()

    def probability(self, mean: float) -> float:
        """Probability, 0 to 1, that an answer of this mean token probability is right."""
        if not self.knots:
            return mean
        after = bisect_right(self.knots, (mean, 1.0))
        if after in (0, len(self.knots)):
            return self.knots[max(0, after - 1)][1]
        (low_x, low_y), (high_x, high_y) = self.knots[after - 1 : after + 1]
        return low_y + (high_y - low_y) * (mean - low_x) / (high_x - low_x)

    @classmethod
    def load(cls, model_dir: Path) -> ConfidenceMap:
        """Read the map beside a checkpoint; without one, the map that changes nothing.

        Raises:
            ConfidenceFileError: the file is there and cannot be used.
        """
        path = model_dir / FILE_NAME
        if not path.exists():
            return cls()
        try:
            knots = json.loads(path.read_text(encoding="utf-8"))["knots"]
            return cls.of(knots)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfidenceFileError(f"{path}: {error}; fit it again or remove it") from error

    @classmethod
    def of(cls, knots: Iterable[Iterable[float]]) -> ConfidenceMap:
        """Check and keep knots; raises ValueError when they do not ascend within 0 to 1."""
        pairs = tuple((float(mean), float(probability)) for mean, probability in knots)
        for (x, y), (next_x, next_y) in pairwise(pairs):
            if not (x < next_x and y <= next_y):
                raise ValueError("knots must ascend")
        if any(not (0 <= x <= 1 and 0 <= y <= 1) for x, y in pairs):
            raise ValueError("knots must lie within 0 and 1")
        return cls(pairs)
