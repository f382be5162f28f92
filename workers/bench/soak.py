"""`ponder bench soak`, or python -m workers.bench.soak: does the engine stay whole and fast?

Random arrivals, cancels, forks, promotions and preemptions on a model, in this process. Prompts
are random tokens, some with a common beginning: what is measured is the engine, not the model.
"""

import importlib.resources
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import click
import torch
from rich.console import Console
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from workers.engine import EngineConfig, EngineOutput, EngineRequest, ForkRefused, LLMEngine
from workers.tokenizer import Tokenizer

_TENTHS: Final = 10
_QUICK_S: Final = 2.0
# Until the batch is full, the speed is not that of the rest.
_WARM_UP_STEPS: Final = 100
_CHECK_EVERY_STEPS: Final = 50
_MOST_WAITING: Final = 12
# Busy, with a queue that is never empty, and calm, with room for branches, take turns.
_PHASE_STEPS: Final = 150
_BUSY_ARRIVAL, _CALM_ARRIVAL = 0.5, 0.05  # per step; a request takes some hundred steps
_CANCEL, _FORK, _PROMOTION = 0.002, 0.2, 0.1
_BRANCH_TOKENS: Final = 12


@dataclass(slots=True)
class Tenth:
    """One tenth of the time: sampled tokens, the seconds they took, and the processor's."""

    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_cpu_s(self) -> float:
        """The control on a machine that others use too: their load leaves it as it is."""
        return self.tokens / self.cpu_seconds


@dataclass(slots=True)
class Soak:
    """A random workload; `events` counts what happened to it."""

    engine: LLMEngine
    random: Random
    events: Counter[str] = field(default_factory=Counter)

    def run(self, seconds: float) -> Iterator[Tenth]:
        """Load the engine for so long, then let it finish; yields each tenth as it ends."""
        for _ in range(_WARM_UP_STEPS):
            self._step()
        for _ in range(_TENTHS):
            yield self._tenth(seconds / _TENTHS)
        while self.engine.has_work:
            self._count(self.engine.step())
        self.engine.scheduler.check()

    @property
    def leaked_pages(self) -> int:
        """Pages that nobody gave back; of use when nothing runs."""
        return self.engine.pool.capacity - self.engine.pool.num_free

    def _tenth(self, seconds: float) -> Tenth:
        tokens = self.engine.metrics.sampled_tokens
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - started_s < seconds:
            self._step()
        return Tenth(
            self.engine.metrics.sampled_tokens - tokens,
            time.monotonic() - started_s,
            time.process_time() - started_cpu_s,
        )

    def _step(self) -> None:
        is_busy = self.events["steps"] // _PHASE_STEPS % 2 == 0
        has_room = len(self.engine.scheduler.waiting) < _MOST_WAITING
        if has_room and self.random.random() < (_BUSY_ARRIVAL if is_busy else _CALM_ARRIVAL):
            self._arrive()
        if self.engine.scheduler.running:
            self._disturb()
        self._decide()
        self._count(self.engine.step())
        self.events["steps"] += 1
        if self.events["steps"] % _CHECK_EVERY_STEPS == 0:
            self.engine.scheduler.check()

    def _arrive(self) -> None:
        random, name = self.random, f"soak-{self.events['arrived']}"
        self.events["arrived"] += 1
        budget = int(10 ** random.uniform(0, 2.8))
        request = EngineRequest(
            request_id=name,
            prompt_ids=self._prompt(),
            thinking_budget=budget,
            max_answer_tokens=random.randint(1, 40),
            temperature=random.choice([0.0, 0.8]),
            seed=random.getrandbits(32),
            expected_thinking_tokens=random.choice([None, budget * random.uniform(0.2, 1.5)]),
        )
        self.engine.add_request(request)

    def _prompt(self) -> list[int]:
        low, high = 10, self.engine.spec.vocab_size
        common = [low + i % (high - low) for i in range(self.random.choice([0, 0, 48, 96]))]
        own = [self.random.randrange(low, high) for _ in range(self.random.randint(1, 80))]
        open_id = self.engine.tokens.think_open_id
        return [*common, *own, *([] if open_id is None else [open_id])]

    def _disturb(self) -> None:
        name = self.random.choice(self.engine.scheduler.running).request.request_id
        if self.random.random() < _CANCEL:
            self.engine.abort(name)
            self.events["cancelled"] += 1
        elif self.random.random() < _FORK:
            self._fork(name)

    def _fork(self, name: str) -> None:
        suffix = self.engine.tokens.natural_close_ids
        try:
            branch = self.engine.fork(name, suffix, _BRANCH_TOKENS)
        except ForkRefused:
            return
        self.events["forked" if branch is not None else "no_room"] += 1

    def _decide(self) -> None:
        for branch in [b for b in self.engine.scheduler.branches if b.is_resting]:
            if branch.end is not None:  # with one that was promoted before
                continue
            if self.random.random() < _PROMOTION:
                self.engine.promote(branch)
                self.events["promoted"] += 1
            else:
                self.engine.drop(branch)

    def _count(self, outputs: list[EngineOutput]) -> None:
        for output in outputs:
            if output.finished is not None:
                self.events["finished"] += 1
                self.events[f"ended_{output.finished.reason}"] += 1


@click.command()
@bench_options
@click.option("--seconds", default=1800.0, show_default=True, help="How long to load it.")
@click.option("--seed", default=1, show_default=True, help="Of the workload.")
@click.option(
    "--pages", default=80, show_default=True, help="Of KV cache: few, so that it must preempt."
)
@click.option(
    "--model",
    "model_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hugging Face directory.  [default: the shipped reference model]",
)
def soak(
    json_path: str | None,
    quick: bool,
    seconds: float,
    seed: int,
    pages: int,
    model_dir: Path | None,
) -> None:
    """Random arrivals, cancels, forks and preemptions: page leaks, speed at both ends."""
    torch.set_num_threads(1)
    work = Soak(_engine(model_dir, pages), Random(seed))
    tenths = []
    for tenth in work.run(_QUICK_S if quick else seconds):
        tenths.append(tenth)
        done = f"{len(tenths)}/{_TENTHS} of the time: {tenth.tokens_per_s:.0f} tokens/s"
        click.echo(f"{done}, {work.events['finished']} requests finished", err=True)
    report = bench_report(work, tenths)
    if json_path != "-":
        Console().print(_table(report))
    if json_path:
        report.write_json(json_path)
    if work.leaked_pages:
        raise click.ClickException(f"{work.leaked_pages} pages leaked")


def bench_report(work: Soak, tenths: list[Tenth]) -> BenchReport:
    """The benchmark's figures, of a workload that has ended."""
    load = work.engine.load()
    first, last = tenths[0], tenths[-1]
    counted = ("steps", "arrived", "finished", "cancelled", "forked", "promoted")
    figures = {
        "seconds": sum(tenth.seconds for tenth in tenths),
        "page_leaks": work.leaked_pages,
        "tokens_per_s_first_tenth": first.tokens_per_s,
        "tokens_per_s_last_tenth": last.tokens_per_s,
        "last_over_first": _ratio(last.tokens_per_s, first.tokens_per_s),
        "preemptions": load.preemptions,
        "branches_dropped_for_room": load.branches_dropped,
        "prefix_tokens": load.prefix_tokens,
        "failed": load.failed,
        "unfinished": work.events["arrived"] - work.events["finished"],
        **{name: work.events[name] for name in counted},
    }
    controls = {
        "tokens_per_cpu_s_first_tenth": first.tokens_per_cpu_s,
        "tokens_per_cpu_s_last_tenth": last.tokens_per_cpu_s,
        "last_over_first_by_cpu": _ratio(last.tokens_per_cpu_s, first.tokens_per_cpu_s),
    }
    return BenchReport(name="soak", figures=figures, controls=controls)


def _ratio(last: float, first: float) -> float:
    """0 when the first is: a tenth so short that nothing was sampled in it says nothing."""
    return last / first if first else 0.0


def _engine(model_dir: Path | None, pages: int) -> LLMEngine:
    directory = model_dir or Path(str(importlib.resources.files("workers"))) / "reference"
    if not (directory / "config.json").exists():
        raise click.ClickException(f"{directory} holds no model: name one with --model")
    config = EngineConfig(
        model_dir=directory,
        num_pages=pages,
        max_running=16,
        max_model_len=1024,
        probation_tokens=16,
        preemption_grace_s=0.05,
    )
    return LLMEngine(config, Tokenizer(directory).special_tokens())


def _table(report: BenchReport) -> Table:
    table = Table(title=f"Soak, {report.device}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in {**report.figures, **report.controls}.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    return table


if __name__ == "__main__":
    soak()
