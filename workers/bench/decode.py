"""`ponder bench decode`: how fast the engine decodes, beside transformers and the machine's limits.

On CPU one thread runs the shipped model and a random wide one of 10 million parameters; on CUDA
random weights in the shapes of Qwen3. The figures `ratio_generate_b1`, `_b8`, `_b16` and
`ratio_continuous_b16` say how many times as fast as transformers the engine is: each is the worst
over the models, and `generate` counts with the faster of its caches.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import torch
from rich.console import Console

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport, processor_name
from workers.bench.decode_ceilings import Ceilings, measure_ceilings
from workers.bench.decode_models import ModelStore
from workers.bench.decode_plan import Plan
from workers.bench.decode_report import decode_report, decode_table
from workers.bench.decode_run import DecodeRunner, Measurement

TABLE_WIDTH = 124


@click.command()
@bench_options
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: the GPU where there is one.",
)
@click.option(
    "--models",
    "models_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the random models here (24 GB for a GPU).  [default: a temporary directory]",
)
def decode(json_path: str | None, quick: bool, device: str, models_dir: Path | None) -> None:
    """Decode speed, beside transformers on the same weights and the machine's own limits."""
    target = _device(device)
    torch.set_num_threads(1)
    plan = Plan.make(target, quick=quick)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    ceilings = measure_ceilings(target, dtype, quick=quick)
    measured: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as temporary:
        store = ModelStore(models_dir or Path(temporary), dtype, target)
        for _ in _collect(DecodeRunner(plan, store, target, ceilings), measured):
            if json_path and json_path != "-":  # a run that is cut keeps what it has
                _report(measured, ceilings, target).write_json(json_path)
    report = _report(measured, ceilings, target)
    if json_path != "-":
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        console.print(decode_table(report, measured, target))
    if json_path:
        report.write_json(json_path)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("--device cuda: torch finds no CUDA device here")
    return torch.device(name)


def _collect(runner: DecodeRunner, measured: list[Measurement]) -> Iterator[None]:
    """Append measurements as they come, with a line of progress each."""
    progress = Console(stderr=True)
    for one in runner.run():
        measured.append(one)
        progress.print(
            f"{one.model} batch {one.batch} context {one.context}, {one.subject}: "
            f"{one.tokens_per_s:.0f} tokens/s",
            highlight=False,
        )
        yield


def _report(
    measured: Sequence[Measurement], ceilings: Ceilings, device: torch.device
) -> BenchReport:
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else f"{processor_name()}, one thread"
    return decode_report(measured, ceilings, name)
