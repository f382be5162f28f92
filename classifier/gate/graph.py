"""Checks of the file itself: its outputs agree with each other, and it is as fast as the champion.

That the graph computes what scikit-learn computed is checked where it is trained, see
classifier.export.check_parity: here there is no scikit-learn model to compare with. What can be
checked here is that survival and tier follow from the hazards.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.export import MIN_PARITY_ROWS, PARITY_TOLERANCE
from classifier.gate.contest import Contest
from classifier.gate.report import Check
from classifier.survival import Floats, smallest_sufficient_tier

NUM_TIMED: Final = 2_000
_NUM_WARM_UP: Final = 50
_MOST_SLOWER: Final = 1.1
_ALWAYS_ALLOWED_MS: Final = 0.05
_NS_PER_MS: Final = 1e6


class Predictor(Protocol):
    def predict_vector(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Hazards from one feature vector."""


def check_parity(contest: Contest) -> Check:
    """Survival within PARITY_TOLERANCE of what the hazards give, and the tier just as it says."""
    candidate = contest.candidate
    largest = float(np.max(np.abs(candidate.graph_survival - candidate.survival)))
    tiers = smallest_sufficient_tier(candidate.graph_survival)
    num_other = int((candidate.graph_tier != tiers).sum())
    num_rows = len(candidate.hazards)
    close = largest <= PARITY_TOLERANCE  # false for NaN
    return Check.of(
        "parity",
        passed=close and num_other == 0 and num_rows >= MIN_PARITY_ROWS,
        remedy="survival and tier must follow from the hazards: export it again with this code",
        candidate=f"{largest:.1e}, {num_other} other tiers",
        limit=f"{PARITY_TOLERANCE:.0e}, 0 on {MIN_PARITY_ROWS} rows or more",
        figures={"largest": largest, "other_tiers": num_other, "rows": num_rows},
    )


def check_latency(contest: Contest) -> Check:
    """The 99th percentile of the processor time of one prediction."""
    vectors = contest.data.features[:NUM_TIMED]
    candidate_ms, champion_ms = (
        float(np.percentile(times, 99))
        for times in time_interleaved(
            (contest.candidate.served, contest.champion.served),
            vectors,
            contest.options.processor_time_ns,
        )
    )
    limit_ms = max(_MOST_SLOWER * champion_ms, champion_ms + _ALWAYS_ALLOWED_MS)
    return Check.of(
        "latency",
        passed=candidate_ms <= limit_ms,
        remedy="every request waits for it: make the graph smaller, or, if this machine was busy, "
        "judge again",
        candidate=f"p99 {candidate_ms:.3f} ms",
        champion=f"p99 {champion_ms:.3f} ms",
        limit=f"{limit_ms:.3f} ms",
        figures={"candidate_ms": candidate_ms, "champion_ms": champion_ms, "limit_ms": limit_ms},
    )


def time_interleaved(
    served: Sequence[Predictor],
    vectors: NDArray[np.float32],
    processor_time_ns: Callable[[], int],
) -> list[Floats]:
    """Processor time in ms of single predictions, one array per classifier.

    They take turns on the same vectors, and in who begins, so that what else the machine does
    meets them alike.
    """
    for vector in vectors[:_NUM_WARM_UP]:
        for one in served:
            one.predict_vector(vector)
    times = np.zeros((len(served), NUM_TIMED))
    for turn, order in _turns(len(served)):
        vector = vectors[turn % len(vectors)]
        for index in order:
            began_ns = processor_time_ns()
            served[index].predict_vector(vector)
            times[index, turn] = (processor_time_ns() - began_ns) / _NS_PER_MS
    return list(times)


def _turns(num_served: int) -> Iterator[tuple[int, list[int]]]:
    forwards = list(range(num_served))
    for turn in range(NUM_TIMED):
        yield turn, forwards if turn % 2 == 0 else forwards[::-1]
