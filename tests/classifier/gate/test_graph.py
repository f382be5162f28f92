"""Latency is compared call by call on a clock of the test's own."""

import numpy as np
from numpy.typing import NDArray

from classifier.gate.graph import NUM_TIMED, time_interleaved


class Timed:
    """Takes so many ms by the shared clock, every hundredth call ten times as many."""

    def __init__(self, clock: "Clock", takes_ms: float) -> None:
        self._clock, self._takes_ms = clock, takes_ms
        self.vectors: list[int] = []

    def predict_vector(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        self.vectors.append(int(vector[0]))
        slow = 10 if len(self.vectors) % 100 == 0 else 1
        self._clock.now_ns += int(self._takes_ms * slow * 1e6)
        return vector


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_both_are_timed_on_the_same_vectors_in_turn():
    clock = Clock()
    served = [Timed(clock, 0.1), Timed(clock, 0.3)]
    vectors = np.arange(70, dtype=np.float32)[:, np.newaxis]

    one, other = time_interleaved(served, vectors, clock)

    assert served[0].vectors == served[1].vectors
    assert len(one) == len(other) == NUM_TIMED
    assert [float(np.median(times)) for times in (one, other)] == [0.1, 0.3]
    assert [float(times.max()) for times in (one, other)] == [1.0, 3.0]
