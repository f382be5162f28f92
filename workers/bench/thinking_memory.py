"""`ponder bench thinking-memory`: what a hidden thinking token costs to hold, and to move.

One request thinks to a given length; then its pages are counted, forked, given up and computed
again. The control of the bytes is what a cache without pages or windows needs for the same length.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import torch
from rich.console import Console
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport, processor_name
from workers.bench.decode_ceilings import synchronize
from workers.bench.decode_models import REFERENCE, ModelStore, model_tokens
from workers.engine import EngineConfig, EngineRequest, LLMEngine
from workers.engine.sequence import Sequence

TABLE_WIDTH = 100
PAGE_SIZE, PROMPT_TOKENS, MAX_TOKENS = 16, 24, 8192
LENGTHS, QUICK_LENGTHS = (512, 2048, 4096), (40,)
_REPEATS, _FORKS = 5, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one request with `tokens` thinking tokens. Times are medians."""

    model: str
    tokens: int
    kv_bytes: int
    dense_bytes: int
    fork_us: float
    preempt_us: float
    resume_ms: float
    step_ms: float  # of decoding the same request by one token, to compare with

    @property
    def bytes_per_token(self) -> float:
        return self.kv_bytes / self.tokens

    @property
    def resident_per_gb(self) -> float:
        """Requests whose pages fit into 10^9 bytes."""
        return 1e9 / self.kv_bytes


@click.command()
@bench_options
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Device."
)
def thinking_memory(json_path: str | None, quick: bool, device: str) -> None:
    """Bytes per thinking token, requests per GB, time to fork, preempt and resume."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("--device cuda: torch finds no CUDA device here")
    target = torch.device(device)
    torch.set_num_threads(1)
    models = [REFERENCE] if quick else [REFERENCE, "wide"] if device == "cpu" else ["0_6b", "1_7b"]
    lengths = QUICK_LENGTHS if quick else LENGTHS
    progress = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        store = ModelStore(Path(directory), _dtype(target), target)
        costs: list[Cost] = []
        for model in models:
            costs += _Thinker(store, model, target).costs(lengths)
            progress.print(f"{model} done", highlight=False)
    report = _report(costs, target)
    if json_path != "-":
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        console.print(_table(report, costs))
    if json_path:
        report.write_json(json_path)


class _Thinker:
    """One request on one engine, which thinks on from length to length."""

    def __init__(self, store: ModelStore, model: str, device: torch.device) -> None:
        self._model = model
        self._device = device
        config = EngineConfig(
            model_dir=store.directory(model),
            device=str(device),
            dtype=str(_dtype(device)).removeprefix("torch."),
            page_size=PAGE_SIZE,
            num_pages=MAX_TOKENS // PAGE_SIZE + 2,
            max_running=2,
            max_model_len=MAX_TOKENS,
            prefix_cache=False,  # a preempted request is to be computed again, not found
        )
        self._engine = LLMEngine(config, model_tokens(model))
        generator = torch.Generator().manual_seed(1)
        size = store.vocab_size(model) - 8
        prompt = torch.randint(8, size, (PROMPT_TOKENS,), generator=generator).tolist()
        self._engine.add_request(
            EngineRequest(
                request_id="thinker",
                prompt_ids=prompt,
                thinking_budget=MAX_TOKENS - PROMPT_TOKENS - 8,
                max_answer_tokens=1,
            )
        )
        self._engine.step()

    def costs(self, lengths: tuple[int, ...]) -> Iterator[Cost]:
        """Costs at rising lengths of the thinking."""
        for tokens in lengths:
            step_s = [self._step_s() for _ in range(tokens - self._thinking_tokens)]
            page_bytes = self._sequence_page_bytes()
            yield Cost(
                model=self._model,
                tokens=tokens,
                kv_bytes=len(self._sequence.pages) * page_bytes,
                dense_bytes=(PROMPT_TOKENS + tokens) * page_bytes // PAGE_SIZE,
                fork_us=1e6 * median(self._fork_s() for _ in range(_FORKS)),
                step_ms=1e3 * median(step_s[-_FORKS:]),
                **self._preempt_and_resume(),
            )

    @property
    def _sequence(self) -> Sequence:
        (sequence,) = self._engine.scheduler.running
        return sequence

    @property
    def _thinking_tokens(self) -> int:
        return self._sequence.thinking.thinking_tokens

    def _sequence_page_bytes(self) -> int:
        spec, dtype = self._engine.spec, _dtype(self._device)
        return 2 * spec.num_layers * spec.num_kv_heads * spec.head_dim * dtype.itemsize * PAGE_SIZE

    def _fork_s(self) -> float:
        pool, sequence = self._engine.pool, self._sequence
        tail_is_partial = sequence.num_computed % PAGE_SIZE != 0

        def fork() -> None:
            child = pool.fork(sequence.pages, tail_is_partial=tail_is_partial)
            if child.copy is not None:
                self._engine.runner.copy_page(*child.copy)
            pool.release(child.pages)

        return self._time_s(fork)

    def _preempt_and_resume(self) -> dict[str, float]:
        preempt_s, resume_s = [], []
        preempt = self._engine.scheduler.preempt
        request_id = self._sequence.request.request_id
        for _ in range(_REPEATS):
            preempt_s.append(self._time_s(lambda: preempt(request_id, time.monotonic())))
            resume_s.append(self._time_s(self._think_one))
        return {"preempt_us": 1e6 * median(preempt_s), "resume_ms": 1e3 * median(resume_s)}

    def _step_s(self) -> float:
        return self._time_s(self._think_one)

    def _think_one(self) -> None:
        """Step until there is one more token: with its pages gone, all are computed again."""
        before = self._engine.metrics.sampled_tokens
        while self._engine.metrics.sampled_tokens == before:
            self._engine.step()

    def _time_s(self, call: Callable[[], None]) -> float:
        synchronize(self._device)
        started_s = time.perf_counter()
        call()
        synchronize(self._device)
        return time.perf_counter() - started_s


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _report(costs: list[Cost], device: torch.device) -> BenchReport:
    figures: dict[str, float] = {}
    controls: dict[str, float] = {}
    for cost in costs:
        key = f"{cost.model}_{cost.tokens}"
        figures |= {
            f"kv_bytes_per_thinking_token_{key}": cost.bytes_per_token,
            f"resident_per_gb_{key}": cost.resident_per_gb,
            f"fork_us_{key}": cost.fork_us,
            f"preempt_us_{key}": cost.preempt_us,
            f"resume_ms_{key}": cost.resume_ms,
        }
        controls |= {
            f"dense_bytes_per_thinking_token_{key}": cost.dense_bytes / cost.tokens,
            f"step_ms_{key}": cost.step_ms,
        }
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else f"{processor_name()}, one thread"
    return BenchReport(name="thinking-memory", figures=figures, controls=controls, device=name)


def _table(report: BenchReport, costs: list[Cost]) -> Table:
    table = Table(title=f"One thinking request, {report.device}")
    for column in ("model", "thinking", "KV B/token", "dense", "per GB"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for column in ("fork us", "preempt us", "resume ms", "step ms"):
        table.add_column(column, justify="right")
    for cost in costs:
        table.add_row(
            cost.model,
            f"{cost.tokens:,}",
            f"{cost.bytes_per_token:,.0f}",
            f"{cost.dense_bytes / cost.tokens:,.0f}",
            f"{cost.resident_per_gb:,.0f}",
            f"{cost.fork_us:.0f}",
            f"{cost.preempt_us:.0f}",
            f"{cost.resume_ms:.1f}",
            f"{cost.step_ms:.2f}",
        )
    return table
