"""The bins of the need: which bin a request's thinking falls in, and what it says about each bin.

Pure functions, shared by the ledger (counts), the router (posterior) and the classifier (labels).

The need of a request is the number of thinking tokens after which it stops by itself. Bin k holds
the needs in (NEED_BIN_EDGES[k - 1], NEED_BIN_EDGES[k]], with 0 before the first edge; bin
NUM_NEED_BINS, "beyond", holds the needs above the last edge and has no hazard. A request counts as

  at risk in bin k   when its need is above the lower edge of the bin and it was allowed to spend
                     the whole bin: upper edge <= horizon;
  event in bin k     when it is at risk there and its need lies there.

The horizon is the budget when the request stopped by itself or its budget ended, and the tokens
spent when it was cut before, because then the need is only known to be greater. A budget ends where
a step of the thinking does, at most `cut_grace_tokens` early. A bin that the budget covers in part
is dropped for those who stopped in it exactly as for those who were cut in it: counting only the
former would make the hazard of that bin 1. Budgets that are edges, as those of the tiers, drop
nothing.

Source: continuation-ratio likelihood for right-censored discrete times, D. R. Cox (1972),
"Regression Models and Life-Tables", J. R. Stat. Soc. B 34(2).
"""

from bisect import bisect_left
from typing import Final

from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

# Upper edges in thinking tokens, each about 1.4 times the one before, with the default tier budgets
# 50, 500, 2000, 10000 among them and room above for models that think longer.
NEED_BIN_EDGES: Final = (
    *(16, 24, 35, 50, 67, 90, 120, 175, 250, 350, 500, 700),
    *(1000, 1400, 2000, 2800, 4000, 5500, 7500, 10_000, 14_000, 20_000, 28_000, 40_000),
)
NUM_NEED_BINS: Final = len(NEED_BIN_EDGES)

MAX_CUT_GRACE_TOKENS: Final = 32

SELF_STOPS: Final = frozenset(
    {
        budget_pb2.THINKING_STOP_FINISHED,
        budget_pb2.THINKING_STOP_CONFIDENT,
        budget_pb2.THINKING_STOP_CONVERGED,
    }
)


def cut_grace_tokens(budget_tokens: int) -> int:
    """How early a budget may end so that the last step of the thinking is whole.

    A tenth of the budget, at most 32 tokens, about one line of thinking.
    """
    return min(MAX_CUT_GRACE_TOKENS, budget_tokens // 10)


def stopped_by_itself(stop: ThinkingStop.ValueType) -> bool:
    """Whether the tokens spent are the need; otherwise the need is only known to be greater."""
    return stop in SELF_STOPS


def bin_of_need(need_tokens: int) -> int:
    """Index of the bin that holds the need, 0 to NUM_NEED_BINS; the last means "beyond"."""
    if need_tokens < 0:
        raise ValueError(f"need_tokens is {need_tokens}, must be 0 or more")
    return bisect_left(NEED_BIN_EDGES, need_tokens)


def num_bins_within(tokens: int) -> int:
    """How many bins end at or below `tokens`."""
    return sum(edge <= tokens for edge in NEED_BIN_EDGES)


def event_bin(thinking_tokens: int, budget_tokens: int, stop: ThinkingStop.ValueType) -> int | None:
    """The bin that counts an event, or None when the request was cut or its bin is not covered."""
    if not stopped_by_itself(stop):
        return None
    need_bin = bin_of_need(thinking_tokens)
    return need_bin if need_bin < num_bins_within(budget_tokens) else None


def num_at_risk_bins(thinking_tokens: int, budget_tokens: int, stop: ThinkingStop.ValueType) -> int:
    """In how many bins, counted from the first, the request was at risk."""
    if not stopped_by_itself(stop):
        return num_bins_within(horizon_tokens(thinking_tokens, budget_tokens, stop))
    return min(bin_of_need(thinking_tokens) + 1, num_bins_within(budget_tokens))


def horizon_tokens(thinking_tokens: int, budget_tokens: int, stop: ThinkingStop.ValueType) -> int:
    """Tokens that a request which was cut was allowed to spend: its need is above them."""
    is_exhausted = stop == budget_pb2.THINKING_STOP_EXHAUSTED
    least = budget_tokens - cut_grace_tokens(budget_tokens)
    return budget_tokens if is_exhausted and thinking_tokens >= least else thinking_tokens


def need_vectors(
    thinking_tokens: int, budget_tokens: int, stop: ThinkingStop.ValueType
) -> tuple[list[int], list[int]]:
    """Events and at-risk flags of one request, each of length NUM_NEED_BINS, entries 0 or 1."""
    events = [0] * NUM_NEED_BINS
    if (bin_index := event_bin(thinking_tokens, budget_tokens, stop)) is not None:
        events[bin_index] = 1
    num_at_risk = num_at_risk_bins(thinking_tokens, budget_tokens, stop)
    return events, [int(k < num_at_risk) for k in range(NUM_NEED_BINS)]
