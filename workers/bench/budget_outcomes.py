"""What each question spends and whether it is right, at every thinking budget.

Tokens are sampled by (seed, place), so a smaller budget only cuts the same thinking short. One run
to the end therefore tells every budget: each cut goes on from the thinking up to just before its
place, as an escalated request would, and closes and answers there itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ponder import bins
from workers.bench.early_exit_figures import Record
from workers.bench.early_exit_run import Bench, Progress
from workers.engine import Controller, EngineRequest
from workers.rollouts import run_requests
from workers.training.questions import Question

LARGEST_BUDGET: Final = 10_000
BUDGETS: Final = (
    *(50, 100, 150, 200, 275, 350, 500, 700, 1_000),
    *(1_400, 2_000, 3_000, 4_000, 6_000, 8_000, LARGEST_BUDGET),
)
"""Thinking tokens: the four tiers, and enough between them to draw the best fixed budget."""

_CONCURRENCY: Final = 64
# Where a budget may end early is sampled again, so that it ends as if nothing had gone before.
_SAMPLED_AGAIN_TOKENS: Final = 2 * bins.cut_grace_tokens(LARGEST_BUDGET)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Both have shape (num_questions, len(BUDGETS)).

    `spent` are thinking, trial and forced tokens. The trials of a thinking that is cut are taken in
    proportion to what was thought of it.
    """

    spent: Floats
    right: Floats

    def at(self, budgets: NDArray[np.int64]) -> Self:
        """Shape (num_questions,): of each question at its own budget, each one of BUDGETS."""
        columns = np.searchsorted(BUDGETS, budgets)
        rows = np.arange(len(self.spent))
        return type(self)(self.spent[rows, columns], self.right[rows, columns])


@dataclass(frozen=True, slots=True)
class _Cut:
    question: int
    column: int


def measure_outcomes(
    bench: Bench, questions: Sequence[Question], controller: Controller | None, progress: Progress
) -> tuple[Outcomes, list[Record]]:
    """Run every question to its end, then answer it at each smaller budget. Also the whole runs."""
    whole = bench.records(questions, controller)
    progress(f"{len(whole)} questions thought about to the end")
    spent = np.repeat([[record.spent_tokens] for record in whole], len(BUDGETS), axis=1)
    right = np.repeat([[record.is_right] for record in whole], len(BUDGETS), axis=1)
    outcomes = Outcomes(spent.astype(np.float64), right.astype(np.float64))
    for cut, record in _cut_records(bench, questions, whole):
        share = record.thinking_tokens / max(1, whole[cut.question].thinking_tokens)
        trials = share * whole[cut.question].probe_tokens
        outcomes.spent[cut.question, cut.column] = (
            record.thinking_tokens + record.forced_tokens + trials
        )
        outcomes.right[cut.question, cut.column] = record.is_right
    progress("every cut answered")
    return outcomes, whole


def _cut_records(
    bench: Bench, questions: Sequence[Question], whole: Sequence[Record]
) -> Iterator[tuple[_Cut, Record]]:
    requests = bench.requests(questions)
    cuts = {
        f"{index}:{column}": _Cut(index, column)
        for index, record in enumerate(whole)
        for column, budget in enumerate(BUDGETS)
        # A step that ends shortly before the budget may be the last.
        if budget - bins.cut_grace_tokens(budget) < record.thinking_tokens
    }
    asked = {
        name: _cut_request(name, requests[cut.question], whole[cut.question], BUDGETS[cut.column])
        for name, cut in cuts.items()
    }
    engine = bench.engine(None, max_running=_CONCURRENCY, target_token_s=1e6)
    for rollout in run_requests(engine, asked.values(), _CONCURRENCY):
        cut, request = cuts[rollout.request_id], asked[rollout.request_id]
        yield cut, bench.record(questions[cut.question], request, rollout)


def _cut_request(name: str, request: EngineRequest, whole: Record, budget: int) -> EngineRequest:
    return replace(
        request,
        request_id=name,
        thinking_prefix_ids=whole.thinking_ids[: max(0, budget - _SAMPLED_AGAIN_TOKENS)],
        thinking_budget=budget,
        cut_grace_tokens=bins.cut_grace_tokens(budget),
    )
