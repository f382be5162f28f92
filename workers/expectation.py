"""What a prediction says about the length of the thinking, for the order of the queue."""

from collections.abc import Sequence

from ponder.bins import NEED_BIN_EDGES


def expected_need(hazards: Sequence[float]) -> float | None:
    """Mean need in thinking tokens of a survival curve; None without a prediction.

    `hazards[k]` is the probability of a need in bin k given one above bin k - 1. A bin counts with
    its middle and what lies beyond the last edge with that edge, so that the mean is a floor there.
    """
    if not hazards:
        return None
    mean, alive, low = 0.0, 1.0, 0
    for hazard, high in zip(hazards, NEED_BIN_EDGES, strict=True):
        mean += alive * hazard * (low + high) / 2
        alive, low = alive * (1 - hazard), high
    return mean + alive * low
