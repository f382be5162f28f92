"""`ponder bench retrain`: how long training on so many traces takes, and in how much memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import numpy as np

from classifier.bench.synthetic import MODEL, Bank, judged, write_parts
from classifier.dataset import Dataset
from classifier.evaluate import log_loss
from classifier.features import vectorize
from classifier.general.__main__ import SHIPPED
from classifier.predictor import DifficultyClassifier
from classifier.readers import outcome_of, read_columns
from classifier.report import markdown_table
from classifier.traces.parquet import read_parquet_traces
from ponder.bins import need_vectors
from ponder.cli.bench import bench_options
from ponder.figures import BenchReport

_NUM_PROMPTS: Final = 20_000
_CONTROL_ROWS: Final = 10_000
_JUDGED_ROWS: Final = 20_000
_SEED, _JUDGED_SEED = 1, 2
_QUICK_ROWS, _QUICK_PROMPTS = 20_000, 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training in a process of its own, and how good its classifier is on fresh requests."""

    wall_s: float
    processor_s: float
    peak_bytes: int
    log_loss: float

    def by_name(self, num_rows: int) -> dict[str, float]:
        """As the report has them."""
        figures = {
            "wall_s": self.wall_s,
            "processor_s": self.processor_s,
            "peak_mb": self.peak_bytes / 1e6,
            "log_loss": self.log_loss,
        }
        return {f"{name}/{num_rows}": value for name, value in figures.items()}


@click.command()
@bench_options
@click.option(
    "--rows",
    default="100000,1000000",
    show_default=True,
    metavar="N,N",
    help="Numbers of traces to train on.",
)
def retrain(json_path: str | None, quick: bool, rows: str) -> None:
    """Training on synthetic traces: seconds, memory, log-loss.

    Traces are written as an export would, with needs drawn from a known truth; that is not timed.
    Then `classifier train` runs on them in a process of its own. The log-loss is that of what it
    wrote, on fresh requests for prompts it has not seen; the truth's own is the least possible.
    """
    sizes = [_QUICK_ROWS] if quick else _sizes(rows)
    bank = Bank.of(_QUICK_PROMPTS if quick else _NUM_PROMPTS, DifficultyClassifier.load(SHIPPED))
    figures: dict[str, float] = {}
    with TemporaryDirectory(prefix="ponder-bench-") as root:
        for num_rows in sizes:
            figures |= _train(bank, num_rows, Path(root) / str(num_rows)).by_name(num_rows)
        controls = _controls(bank, Path(root) / "control")
    report = BenchReport(name="retrain", figures=figures, controls=controls)
    if json_path != "-":
        lines = [[name, f"{value:.4g}"] for name, value in (figures | controls).items()]
        click.echo(markdown_table(["retrain", ""], lines))
    if json_path:
        report.write_json(json_path)


def _sizes(rows: str) -> list[int]:
    try:
        sizes = [int(part) for part in rows.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < _CONTROL_ROWS:
        raise click.UsageError(f"--rows {rows}: numbers of at least {_CONTROL_ROWS} are needed")
    return sizes


def _train(bank: Bank, num_rows: int, folder: Path) -> Training:
    folder.mkdir()
    _say(f"writing {num_rows} traces")
    write_parts(bank, folder, num_rows, _SEED)
    _say(f"training on {num_rows} traces")
    out = folder / "difficulty.onnx"
    command = [sys.executable, "-m", "classifier", "train", "--json"]
    command += ["--traces", str(folder), "--model", MODEL, "--out", str(out)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} failed, see above")
    return Training(
        wall_s=time.monotonic() - began,
        processor_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        log_loss=_log_loss(bank, out),
    )


def _log_loss(bank: Bank, classifier: Path) -> float:
    data, _ = judged(bank, _JUDGED_ROWS, _JUDGED_SEED)
    served = DifficultyClassifier.load(classifier)
    hazards = np.stack([served.predict_vector(row) for row in data.features])
    return log_loss(hazards.astype(np.float64), data)


def _controls(bank: Bank, folder: Path) -> dict[str, float]:
    """The least log-loss, that of one curve for all, and the speed of reading row by row."""
    data, truth = judged(bank, _JUDGED_ROWS, _JUDGED_SEED)
    shares = data.events.sum(axis=0) / np.maximum(1, data.at_risk.sum(axis=0))
    folder.mkdir()
    write_parts(bank, folder, _CONTROL_ROWS, _SEED)
    return {
        "truth.log_loss": log_loss(truth, data),
        "constant.log_loss": log_loss(np.tile(shares, (len(data), 1)), data),
        "row by row.rows_per_processor_s": _rows_per_s(lambda: _row_by_row(folder)),
        "in columns.rows_per_processor_s": _rows_per_s(
            lambda: Dataset.of_columns(read_columns(folder, MODEL))
        ),
    }


def _row_by_row(folder: Path) -> None:
    """An object, a vector and labels for each trace, as they are made of one."""
    for _, trace in read_parquet_traces(folder, MODEL):
        if outcome := outcome_of(trace):
            vectorize(outcome.ids)
            need_vectors(outcome.thinking_tokens, outcome.budget_tokens, outcome.stop)


def _rows_per_s(read: Callable[[], object]) -> float:
    began = time.process_time()
    read()
    return _CONTROL_ROWS / (time.process_time() - began)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
