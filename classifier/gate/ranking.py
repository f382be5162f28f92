"""Does the candidate order requests by their need as well as the champion? And would it be noticed?

Kendall's tau over the pairs whose order is known in spite of censoring, as in classifier.evaluate;
the bootstrap draws prompts, for both classifiers at once, and recomputes both taus exactly.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.evaluate import MAX_RANKED_ROWS, ranked_rows
from classifier.gate.contest import Contest
from classifier.gate.report import Check
from classifier.gate.resampling import Interval, row_draws, summarised
from classifier.gate.rows import LoggedRows
from classifier.survival import Floats

TAU_MARGIN: Final = 0.01
_NUM_RESAMPLES: Final = 300
_SEED: Final = 0

assert MAX_RANKED_ROWS <= 5_000  # pairs are held as matrices


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows in known order: `before[i, j]` is 1 where row i is known to need less than row j.

    `times` (num_resamples, num_rows) is how often each resample has drawn each row.
    """

    before: NDArray[np.float32]
    times: NDArray[np.float32]
    chosen: NDArray[np.int64]

    @classmethod
    def of(cls, rows: LoggedRows) -> Self:
        """Of at most MAX_RANKED_ROWS rows, the same that classifier.evaluate takes."""
        chosen = ranked_rows(len(rows))
        tokens, known = rows.data.thinking_tokens[chosen], rows.data.need_known[chosen]
        before = known[:, np.newaxis] & (tokens[np.newaxis, :] > tokens[:, np.newaxis])
        times = row_draws(rows.prompts[chosen], _NUM_RESAMPLES, _SEED)
        return cls(before.astype(np.float32), times, chosen)

    def taus(self, score: Floats) -> tuple[float, Floats]:
        """Tau of scores (all rows,), and the same in every resample (num_resamples,)."""
        own = score[self.chosen]
        right = np.sign(_differences(own)).astype(np.float32) * self.before
        exact = float(right.sum(dtype=np.float64) / self.before.sum(dtype=np.float64))
        return exact, _weighted(right, self.times) / _weighted(self.before, self.times)


def check_ranking(contest: Contest) -> Check:
    """Refused when tau is more than TAU_MARGIN below the champion's, and certainly below it."""
    pairs = Pairs.of(contest.rows)
    champion = pairs.taus(contest.champion.median)
    candidate = pairs.taus(contest.candidate.median)
    difference = _difference(candidate, champion)
    return Check.of(
        "ranking",
        passed=not is_below(difference),
        remedy="it orders prompts by their need worse than the champion does: train it on more "
        "traces, and look whether they are those of this model",
        candidate=f"tau {candidate[0]:.3f}",
        champion=f"tau {champion[0]:.3f}",
        limit=f"difference {difference}: not below -{TAU_MARGIN}",
        figures={
            "candidate_tau": candidate[0],
            "champion_tau": champion[0],
            "difference": difference.estimate,
            "low": difference.low,
            "high": difference.high,
        },
    )


def check_controls(contest: Contest) -> Check:
    """A constant, and the candidate's predictions dealt out at random, must not pass the ranking:
    where they do, these rows cannot tell a good classifier from a bad one.
    """
    pairs = Pairs.of(contest.rows)
    champion = pairs.taus(contest.champion.median)
    order = np.random.default_rng(_SEED).permutation(len(contest.rows))
    scores = {
        "constant": np.zeros(len(contest.rows)),
        "shuffled": contest.candidate.median[order],
    }
    taus = {name: pairs.taus(score) for name, score in scores.items()}
    passing = [n for n, tau in taus.items() if not is_below(_difference(tau, champion))]
    return Check.of(
        "controls",
        passed=not passing,
        remedy=f"{' and '.join(passing)} would pass the ranking too, so it says nothing: "
        "collect traces of prompts that differ in their need, or replace the champion by hand",
        candidate=", ".join(f"{name} tau {tau:.3f}" for name, (tau, _) in taus.items()),
        champion=f"tau {champion[0]:.3f}",
        limit="both fail the ranking",
        figures={f"{name}_tau": tau for name, (tau, _) in taus.items()},
    )


def is_below(difference: Interval) -> bool:
    """Below by more than the margin, and the interval lies below zero; or unknown."""
    above = difference.estimate >= -TAU_MARGIN or difference.high >= 0.0
    return not above


def _difference(one: tuple[float, Floats], other: tuple[float, Floats]) -> Interval:
    return summarised(one[0] - other[0], one[1] - other[1])


def _differences(score: Floats) -> Floats:
    """score[j] - score[i]; scores may be infinite."""
    ranks = np.unique(score, return_inverse=True)[1].astype(np.float32)
    return ranks[np.newaxis, :] - ranks[:, np.newaxis]


def _weighted(matrix: NDArray[np.float32], times: NDArray[np.float32]) -> Floats:
    """The sum over pairs, each as often as both of its rows were drawn together."""
    sums: Floats = np.einsum("bi,bi->b", times @ matrix, times, dtype=np.float64)
    return sums
