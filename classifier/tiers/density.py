"""Where needs gather: their density over the logarithm of the tokens, and its modes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from classifier.kaplan_meier import Floats, KaplanMeier

_GRID_SIZE: Final = 1024
_MIN_BANDWIDTH: Final = 0.05
_MARGIN: Final = 4.0  # bandwidths
_MIN_PROMINENCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class NeedDensity:
    """`density` (num_points,) per unit of ln(tokens), at `tokens` (num_points,)."""

    tokens: Floats
    density: Floats

    @classmethod
    def of(cls, curve: KaplanMeier, num_known: int) -> "NeedDensity":
        """Gaussian kernels, as wide as `num_known` needs allow.

        Source: B. W. Silverman (1986), "Density Estimation", equation 3.31, halved: it is made for
        one mode and blurs several.
        """
        logs = np.log(np.maximum(curve.needs, 1.0))
        width = _bandwidth(logs, curve.masses, num_known)
        grid = np.linspace(logs[0] - _MARGIN * width, logs[-1] + _MARGIN * width, _GRID_SIZE)
        masses = np.bincount(np.searchsorted(grid, logs), curve.masses, minlength=_GRID_SIZE)
        kernel = np.exp(-0.5 * ((grid - grid.mean()) / width) ** 2)
        kernel /= width * np.sqrt(2.0 * np.pi)
        return cls(np.exp(grid), np.convolve(masses, kernel, mode="same"))

    def modes(self) -> list[int]:
        """Tokens at the peaks that stand out by a tenth of the highest, rising."""
        least = _MIN_PROMINENCE * float(self.density.max())
        inner = self.density[1:-1]
        peaks = np.flatnonzero((inner > self.density[:-2]) & (inner >= self.density[2:])) + 1
        return [round(self.tokens[p]) for p in peaks if self._prominence(int(p)) >= least]

    def _prominence(self, peak: int) -> float:
        """Height above the deeper saddle towards higher ground, or towards the end."""
        height = self.density[peak]
        sides = (self.density[peak::-1], self.density[peak:])
        return float(height - max(_lowest_before_higher(side, height) for side in sides))


def _lowest_before_higher(side: Floats, height: float) -> float:
    higher = np.flatnonzero(side > height)
    return float(side[: higher[0]].min()) if len(higher) else 0.0


def _bandwidth(logs: Floats, masses: Floats, num_known: int) -> float:
    shares = np.cumsum(masses) / masses.sum()
    low, high = logs[np.searchsorted(shares, [0.25, 0.75])]
    mean = float((logs * masses).sum() / masses.sum())
    deviation = float(np.sqrt(((logs - mean) ** 2 * masses).sum() / masses.sum()))
    spread = min(deviation, float(high - low) / 1.34) or deviation
    return max(_MIN_BANDWIDTH, 0.45 * spread * float(num_known**-0.2))
