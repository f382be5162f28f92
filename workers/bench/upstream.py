"""`ponder bench upstream`: word problems at several budgets, through a worker with an upstream.

The worker runs already, and in front of what it runs is the caller's business. It is asked as a
router asks it. Two books are held against each other: the worker's usage against the tokens that
it sent, and against what the upstream says that it sampled.
"""

import asyncio
import importlib.resources
import json
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ponder import rpc
from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from ponder.v1 import budget_pb2, worker_pb2, worker_pb2_grpc
from workers.bench.upstream_counters import read_counter

if TYPE_CHECKING:
    from ponder.v1.worker_pb2_grpc import WorkerAsyncStub

_BUDGETS: Final = (0, 64, 128, 256, 512)
_NUM_QUICK_PROBLEMS: Final = 2
_ANSWER_TOKENS: Final = 12
_TIMEOUT_S: Final = 900.0
_ASK: Final = "{} Think step by step."
_EARLY: Final = frozenset(
    (
        budget_pb2.THINKING_STOP_CONFIDENT,
        budget_pb2.THINKING_STOP_CONVERGED,
        budget_pb2.THINKING_STOP_GAVE_UP,
    )
)
_NUMBER: Final = re.compile(r"-?\d[\d,]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """A question whose answer is one whole number."""

    question: str
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one problem at one budget. `num_sent`: thinking ids that were streamed."""

    budget: int
    is_right: bool
    num_sent: int
    done: worker_pb2.ThinkDone

    @property
    def is_exact(self) -> bool:
        """Never over the budget, and cut at it to the token when it was cut."""
        thought = self.done.usage.thinking_tokens
        is_cut = self.done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
        return thought == self.budget if is_cut else thought <= self.budget

    @property
    def num_sampled(self) -> int:
        """Tokens that the server must have sampled: each part that ended by itself has an end."""
        usage = self.done.usage
        ends = (self.done.stop == budget_pb2.THINKING_STOP_FINISHED) + (
            self.done.finish_reason == budget_pb2.FINISH_REASON_STOP
        )
        return int(usage.thinking_tokens + usage.answer_tokens + ends)


@click.command("upstream")
@bench_options
@click.option("--worker", "address", default="127.0.0.1:50061", show_default=True)
@click.option(
    "--upstream",
    "upstream_url",
    metavar="URL",
    help="Also hold the usage against the counter at URL/metrics. Nobody else may use the server.",
)
@click.option(
    "--budget", "budgets", type=click.IntRange(min=0), multiple=True, help="Instead of the five."
)
@click.option("--concurrent", type=click.IntRange(min=1), default=2, show_default=True)
def upstream(
    json_path: str | None,
    quick: bool,
    address: str,
    upstream_url: str | None,
    budgets: tuple[int, ...],
    concurrent: int,
) -> None:
    """24 word problems at budgets 0 to 512: accuracy, exact budgets, equal books."""
    problems = load_problems()[: _NUM_QUICK_PROBLEMS if quick else None]
    before = read_counter(upstream_url)
    outcomes = asyncio.run(_ask_all(address, problems, budgets or _BUDGETS, concurrent))
    after = read_counter(upstream_url)
    counted = None if before is None or after is None else after - before
    report = report_of(outcomes, counted)
    if json_path != "-":
        Console().print(_table(report, sorted({outcome.budget for outcome in outcomes})))
    if json_path:
        report.write_json(json_path)
    if report.figures["inexact_budgets"] or report.figures["usage_difference"]:
        raise click.ClickException("a budget was not held exactly, or the books differ")


def load_problems() -> list[Problem]:
    """Our own grade-school word problems."""
    file = importlib.resources.files("workers.bench") / "word_problems.json"
    return [Problem(**row) for row in json.loads(file.read_text("utf-8"))]


def report_of(outcomes: Sequence[Outcome], counted: float | None) -> BenchReport:
    """`counted`: tokens that the upstream says it sampled, None when it was not asked."""
    figures: dict[str, float] = {}
    for budget in sorted({outcome.budget for outcome in outcomes}):
        at_budget = [outcome for outcome in outcomes if outcome.budget == budget]
        thought = sum(outcome.done.usage.thinking_tokens for outcome in at_budget)
        figures[f"accuracy_{budget}"] = sum(o.is_right for o in at_budget) / len(at_budget)
        figures[f"thinking_tokens_{budget}"] = thought / len(at_budget)
        stops = Counter(outcome.done.stop for outcome in at_budget)
        figures[f"cut_{budget}"] = stops[budget_pb2.THINKING_STOP_EXHAUSTED]
        figures[f"early_{budget}"] = sum(stops[stop] for stop in _EARLY)
        probed = sum(outcome.done.usage.probe_tokens for outcome in at_budget)
        figures[f"probe_tokens_{budget}"] = probed / len(at_budget)
    probed = sum(outcome.done.usage.probe_tokens for outcome in outcomes)
    sampled = sum(outcome.num_sampled for outcome in outcomes)
    streamed = sum(o.num_sent - o.done.usage.thinking_tokens for o in outcomes)
    return BenchReport(
        name="upstream",
        figures={
            **figures,
            "requests": len(outcomes),
            "inexact_budgets": sum(not outcome.is_exact for outcome in outcomes),
            "sampled_tokens": sampled,
            "streamed_difference": streamed,
            "usage_difference": 0 if counted is None else _outside(counted, sampled, probed),
        },
        controls={} if counted is None else {"upstream_sampled_tokens": counted},
    )


def _outside(counted: float, sampled: int, probed: int) -> float:
    """How far a count is from what the usage allows.

    What trials were fed counts with what they sampled, and only that is the server's to count.
    """
    return counted - min(max(counted, sampled), sampled + probed)


async def _ask_all(
    address: str, problems: Sequence[Problem], budgets: Sequence[int], concurrent: int
) -> list[Outcome]:
    slots = asyncio.Semaphore(concurrent)
    async with rpc.open_channel(address) as channel:
        stub: WorkerAsyncStub = worker_pb2_grpc.WorkerStub(channel)
        model = await _model(stub)
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("problems", total=len(problems) * len(budgets))

            async def ask(problem: Problem, budget: int) -> Outcome:
                async with slots:
                    outcome = await _ask(stub, model, problem, budget)
                progress.advance(bar)
                return outcome

            asked = (ask(problem, budget) for problem in problems for budget in budgets)
            return await asyncio.gather(*asked)


async def _model(stub: "WorkerAsyncStub") -> str:
    """The name of the model that the worker serves."""
    async for load in stub.Watch(worker_pb2.WatchRequest()):
        return load.models[0]
    raise click.ClickException("the worker does not tell its load")


async def _ask(stub: "WorkerAsyncStub", model: str, problem: Problem, budget: int) -> Outcome:
    answer, num_sent, done = "", 0, worker_pb2.ThinkDone()
    request = worker_pb2.ThinkRequest(
        request_id=str(uuid.uuid4()),
        model=model,
        prompt=_ASK.format(problem.question),
        thinking_budget=budget,
        max_answer_tokens=_ANSWER_TOKENS,
        sampling=budget_pb2.Sampling(temperature=0, seed=0),
        answer_on_exhaustion=True,
        settlement=worker_pb2.Settlement(tenant="bench"),
    )
    async for event in stub.Think(request, timeout=_TIMEOUT_S):
        num_sent += len(event.thinking.ids)
        answer += event.answer.text
        if event.HasField("done"):
            done = event.done
    return Outcome(budget=budget, is_right=is_right(answer, problem), num_sent=num_sent, done=done)


def is_right(answer: str, problem: Problem) -> bool:
    """Whether the first number of an answer is the problem's."""
    found = _NUMBER.search(answer)
    return found is not None and int(found.group().replace(",", "")) == problem.answer


def _table(report: BenchReport, budgets: Sequence[int]) -> Table:
    figures = report.figures
    has_trials = any(figures[f"probe_tokens_{budget}"] for budget in budgets)
    caption = (
        f"{figures['requests']:.0f} requests, {figures['inexact_budgets']:.0f} budgets not held "
        f"exactly. Tokens sampled: {figures['sampled_tokens']:.0f} by the usage"
    )
    if report.controls:
        caption += f", {report.controls['upstream_sampled_tokens']:.0f} by the upstream's counter"
        caption += ", which has those of trials too" if has_trials else ""
    headings = ["budget", "right", "thinking tokens, mean", "cut by the budget"]
    headings += ["stopped early", "probe tokens, mean"] if has_trials else []
    table = Table(title="Word problems, upstream", caption=caption + ".")
    for heading in headings:
        table.add_column(heading, justify="right")
    for budget in budgets:
        table.add_row(
            str(budget),
            f"{figures[f'accuracy_{budget}']:.0%}",
            f"{figures[f'thinking_tokens_{budget}']:.1f}",
            f"{figures[f'cut_{budget}']:.0f}",
            *_of_trials(figures, budget, has_trials),
        )
    return table


def _of_trials(figures: Mapping[str, float], budget: int, has_trials: bool) -> list[str]:
    if not has_trials:
        return []
    return [f"{figures[f'early_{budget}']:.0f}", f"{figures[f'probe_tokens_{budget}']:.1f}"]
