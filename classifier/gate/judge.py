"""Runs every check of a candidate against the champion, on requests that neither learned from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from classifier.errors import ClassifierError
from classifier.following import Following
from classifier.gate.calibration import check_calibration, check_coverage
from classifier.gate.contest import Contender, Contest, GateOptions
from classifier.gate.graph import check_latency, check_parity
from classifier.gate.losses import check_out_of_domain, check_sharpness
from classifier.gate.ranking import check_controls, check_ranking
from classifier.gate.report import Check, GateReport
from classifier.gate.rows import LoggedRows
from classifier.gate.value import check_value
from classifier.metadata import GENERAL_MODEL
from classifier.predictor import DifficultyClassifier

Progress = Callable[[str], None]

_CHECKS: Final[tuple[tuple[str, Callable[[Contest], Check]], ...]] = (
    ("parity", check_parity),
    ("ranking", check_ranking),
    ("controls", check_controls),
    ("sharpness", check_sharpness),
    ("coverage", check_coverage),
    ("calibration", check_calibration),
    ("latency", check_latency),
    ("value", check_value),
)
_OUT_OF_DOMAIN: Final = "out of domain"


def judge(
    candidate: Path,
    champion: Path,
    rows: LoggedRows,
    *,
    model: str,
    foreign: LoggedRows | None = None,
    options: GateOptions | None = None,
    progress: Progress = lambda line: None,
) -> GateReport:
    """Whether the candidate may replace the champion.

    `rows` are requests of the reasoning model `model`, all that there are: those that judge are
    chosen from them here. `foreign` are requests of other kinds, all of which count. A candidate
    that cannot be loaded is refused. Raises ClassifierError when the champion cannot, or when it
    serves another model.
    """
    options = options or GateOptions()
    serving = _load_champion(champion, model)
    held_out = rows.held_out(options.latest_share)
    file, served = _check_file(candidate, model, serving)
    enough = _check_rows(len(held_out), len(rows), options)
    rest = _not_judged()
    if served is not None and enough.verdict == file.verdict == "passed":
        rest = _judged(served, serving, rows, held_out, foreign, options, progress)
    return GateReport(
        model=model,
        candidate=served.version if served else "",
        champion=serving.version,
        num_rows=len(held_out),
        checks=(file, enough, *rest),
    )


def _load_champion(path: Path, model: str) -> DifficultyClassifier:
    served = DifficultyClassifier.load(path)
    if served.model not in (model, GENERAL_MODEL):
        raise ClassifierError(
            f"{path}: the champion predicts the need of {served.model}, not of {model}: name the "
            "one that serves it now, or the general classifier"
        )
    return served


def _check_file(
    path: Path, model: str, champion: DifficultyClassifier
) -> tuple[Check, DifficultyClassifier | None]:
    try:
        served = DifficultyClassifier.load(path)
    except ClassifierError as error:
        return Check.of("file", passed=False, remedy=f"{error}"), None
    check = Check.of(
        "file",
        passed=served.model == model,
        remedy=f"it predicts the need of {served.model}: train it on traces of {model}",
        candidate=served.version,
        champion=champion.version,
        limit=f"for {model}",
        figures={"model": served.model, "training_rows": served.metadata.training_rows},
    )
    return check, served


def _check_rows(num_held_out: int, num_rows: int, options: GateOptions) -> Check:
    share = f"split test of the latest {options.latest_share:.0%}"
    return Check.of(
        "held-out rows",
        passed=num_held_out >= options.min_rows,
        remedy=f"only {num_held_out} of {num_rows} usable requests are held out ({share}), "
        f"{options.min_rows} are needed: collect more traces; --min-rows lowers it, to 1000 at "
        "least, --latest-share takes older ones",
        candidate=f"{num_held_out} of {num_rows}",
        limit=f"{options.min_rows}: {share}",
        figures={"held_out": num_held_out, "usable": num_rows},
    )


def _judged(
    served: DifficultyClassifier,
    serving: DifficultyClassifier,
    rows: LoggedRows,
    held_out: LoggedRows,
    foreign: LoggedRows | None,
    options: GateOptions,
    progress: Progress,
) -> tuple[Check, ...]:
    progress(f"{len(held_out)} held-out requests judge")
    champion = Contender.of(serving, held_out.data)
    try:
        candidate = Contender.of(served, held_out.data)
    except ClassifierError as error:
        refused = Check.of("parity", passed=False, remedy=str(error))
        return (refused, *_not_judged(refused.name))
    contest = Contest(
        candidate=candidate,
        champion=champion,
        rows=held_out,
        following=Following.of(held_out.data, options.budgets),
        background=rows.background(),
        options=options,
    )
    return tuple(_each(contest, foreign, progress))


def _each(contest: Contest, foreign: LoggedRows | None, progress: Progress) -> Iterator[Check]:
    for name, check in _CHECKS:
        progress(name)
        yield check(contest)
    progress(_OUT_OF_DOMAIN)
    yield check_out_of_domain(contest, foreign)


def _not_judged(*but: str) -> tuple[Check, ...]:
    """What was refused before has to be put right first."""
    names = [name for name, _ in _CHECKS] + [_OUT_OF_DOMAIN]
    return tuple(Check(name=name, verdict="not judged") for name in names if name not in but)
