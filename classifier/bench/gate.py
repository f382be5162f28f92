"""`ponder bench gate`: what the gate estimates from logs, beside the truth of traces nobody cut.

A fifth of the training prompts makes the champion; candidates are made of all of them, one that
looks at the prompt and one that does not. The champion then "serves" the traces: budgets by its
prediction, some promoted, spent ones raised or not, the rest cut off. From what is left the gate
estimates how much more the candidates' decisions are worth, and how far their bound is off; the
whole traces say what is true.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.decisions import UNKNOWN_TIER
from classifier.errors import ClassifierError, DatasetError, ExportError
from classifier.evaluate import coverage
from classifier.export import export
from classifier.following import Following
from classifier.gate.calibration import coverage_errors
from classifier.gate.contest import Contender, Contest, GateOptions
from classifier.gate.reading import read_logged
from classifier.gate.rows import LoggedRows
from classifier.gate.value import check_value
from classifier.hazards import fit
from classifier.predictor import DifficultyClassifier
from classifier.readers import models_in
from classifier.report import markdown_table
from classifier.survival import Floats, covering_bin
from ponder.cli.bench import bench_options
from ponder.figures import BenchReport

LOGGINGS: Final[Mapping[str, Logging]] = {
    "all raised, 1 % explored": Logging(exploration=0.01, goes_on=1.0),
    "half raised, 1 % explored": Logging(exploration=0.01, goes_on=0.5),
    "none raised, 1 % explored": Logging(exploration=0.01, goes_on=0.0),
    "none raised, 20 % explored": Logging(exploration=0.2, goes_on=0.0),
}
_NUM_SEEDS: Final = 10
_QUICK_SEEDS: Final = 2
_REGULARISATION: Final = 3.0  # what training chooses on the traces of the reference model
_CHAMPION_SHARE: Final = 5


Trials = Mapping[tuple[str, str], list["Trial"]]
"""By candidate and logging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One simulated log: the difference of the values with its interval, for how many requests the
    logs can never tell it; and the coverage errors of the candidate's bound, by the gate and with
    every row that tells counted once.
    """

    value: float
    low: float
    high: float
    effective_rows: float
    untold_share: float
    coverage_error: float
    plain_coverage_error: float


@click.command()
@bench_options
@click.option(
    "--traces",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Traces of one model that no budget cut, as workers.training.collect writes them.",
)
def gate(json_path: str | None, quick: bool, traces: Path) -> None:
    """The gate's estimates from cut logs, beside the truth."""
    try:
        bench = _Bench.of(traces)
        truth = bench.truth()
        trials = bench.trials(_QUICK_SEEDS if quick else _NUM_SEEDS)
    except (ClassifierError, DatasetError, ExportError) as error:
        raise click.ClickException(str(error)) from error
    if json_path != "-":
        click.echo(_table(truth, trials))
    if json_path:
        _report(truth, trials).write_json(json_path)


@dataclass(frozen=True, slots=True)
class _Bench:
    outcomes: list[Outcome]
    whole: LoggedRows
    candidates: Mapping[str, DifficultyClassifier]
    champion: DifficultyClassifier

    @classmethod
    def of(cls, path: Path) -> "_Bench":
        """Raises DatasetError."""
        (model, *others) = models_in([path]) or [""]
        if others or not model:
            raise DatasetError(f"--traces {path}: traces of one model are needed")
        logged = list(read_logged(path, model))
        whole = LoggedRows.of(logged)
        training = whole.data.split("train")
        few = training.rows(np.arange(len(training)) % _CHAMPION_SHARE == 0)
        nothing = np.array([], dtype=np.int64)
        candidates = {
            "five times the prompts": _served(training, model),
            "one curve for all": _served(training, model, nothing),
        }
        return cls([row.outcome for row in logged], whole, candidates, _served(few, model))

    def truth(self) -> Mapping[str, Trial]:
        return self._judge(self.whole)

    def trials(self, num_seeds: int) -> Trials:
        found: dict[tuple[str, str], list[Trial]] = {}
        for logging, seed in self._runs(num_seeds):
            for candidate, trial in self._judge(self._log(LOGGINGS[logging], seed)).items():
                found.setdefault((candidate, logging), []).append(trial)
        return found

    def _runs(self, num_seeds: int) -> Iterator[tuple[str, int]]:
        for name in LOGGINGS:
            for seed in tqdm(range(num_seeds), desc=name, disable=None):
                yield name, seed

    def _log(self, logging: Logging, seed: int) -> LoggedRows:
        decided = Contender.of(self.champion, self.whole.data).tier(logging.budgets)
        return LoggedRows.of(simulate_logs(self.outcomes, decided, logging, seed))

    def _judge(self, rows: LoggedRows) -> Mapping[str, Trial]:
        options = GateOptions()
        held_out = rows.held_out(1.0)
        champion = Contender.of(self.champion, held_out.data)
        following = Following.of(held_out.data, options.budgets)
        background = rows.background()
        return {
            name: _judged(
                Contest(
                    candidate=Contender.of(served, held_out.data),
                    champion=champion,
                    rows=held_out,
                    following=following,
                    background=background,
                    options=options,
                )
            )
            for name, served in self.candidates.items()
        }


def _judged(contest: Contest) -> Trial:
    figures = check_value(contest).figures
    survival = contest.candidate.survival
    plain = coverage(covering_bin(survival), survival, Following.of(_as_if_fixed(contest.data)))
    errors = coverage_errors(contest.candidate, contest.following)
    return Trial(
        value=figures["difference"],
        low=figures["low"],
        high=figures["high"],
        effective_rows=figures["candidate"]["effective_rows"],
        untold_share=figures["untold_share"],
        coverage_error=errors.get("all", float("nan")),
        plain_coverage_error=plain.observed - plain.expected,
    )


def _as_if_fixed(data: Dataset) -> Dataset:
    """Without the decisions: every budget as if it had been fixed beforehand."""
    return replace(data, first_tiers=np.full(len(data), UNKNOWN_TIER))


def _served(
    rows: Dataset, model: str, columns: NDArray[np.int64] | None = None
) -> DifficultyClassifier:
    trained = fit(rows, regularisation=_REGULARISATION, columns=columns)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "difficulty.onnx"
        path.write_bytes(export(trained, model, len(rows)))
        return DifficultyClassifier.load(path)


def _table(truth: Mapping[str, Trial], trials: Trials) -> str:
    """Markdown; means over the simulated logs, in brackets the standard deviation. Errors of the
    coverage are in percentage points.
    """
    header = ["candidate", "logs", "value", "interval holds the truth", "effective rows", "untold"]
    rows = [row for name in truth for row in _rows(name, truth[name], trials)]
    return markdown_table([*header, "coverage error", "the same, unweighted"], rows)


def _rows(name: str, truth: Trial, trials: Trials) -> Iterator[list[str]]:
    errors = [f"{100 * e:+.2f}" for e in (truth.coverage_error, truth.plain_coverage_error)]
    yield [name, "whole traces", f"{truth.value:+.4f}", "", "", "", *errors]
    for logging in LOGGINGS:
        found = trials[name, logging]
        yield [
            name,
            logging,
            _spread(_of(found, "value"), ".4f"),
            f"{_holding(truth, found)} of {len(found)}",
            f"{_of(found, 'effective_rows').mean():.0f}",
            f"{_of(found, 'untold_share').mean():.1%}",
            _spread(100 * _of(found, "coverage_error"), ".2f"),
            _spread(100 * _of(found, "plain_coverage_error"), ".2f"),
        ]


def _report(truth: Mapping[str, Trial], trials: Trials) -> BenchReport:
    figures = {}
    for name, trial in truth.items():
        figures[f"{name}/value"] = trial.value
        figures[f"{name}/coverage_error"] = trial.coverage_error
    for (name, logging), found in trials.items():
        for key in Trial.__slots__:
            figures[f"{name}/{logging}/{key}"] = float(_of(found, key).mean())
        holding = _holding(truth[name], found) / len(found)
        figures[f"{name}/{logging}/interval_holds"] = holding
    return BenchReport(name="gate", figures=figures)


def _of(trials: list[Trial], key: str) -> Floats:
    return np.array([getattr(trial, key) for trial in trials])


def _holding(truth: Trial, trials: list[Trial]) -> int:
    return sum(trial.low <= truth.value <= trial.high for trial in trials)


def _spread(values: Floats, form: str) -> str:
    return f"{values.mean():+{form}} [{values.std():{form}}]"
