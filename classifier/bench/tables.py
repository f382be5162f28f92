"""The figures of `ponder bench predict` as Markdown tables and as one JSON document."""

from collections.abc import Mapping
from typing import Final

from classifier.bench.agreement import OUTCOME_MEASURES, TIER_MEASURES, Estimate
from classifier.bench.controls import GENERAL, LENGTH
from classifier.bench.trace_figures import TraceFigures
from classifier.bench.unseen import Split, Unseen, measures
from classifier.report import markdown_table
from ponder.figures import BenchReport

_TITLES: Final[Mapping[str, str]] = {
    "tier_exact": "tier exact",
    "tier_within_one": "within one",
    "tau": "tau, tokens",
    "spearman": "rho, tokens",
    "failure_tau": "tau, failures",
}
_TARGET_EXACT, _TARGET_WITHIN_ONE = 0.70, 0.95


def summary_table(unseen: Unseen) -> str:
    """The mean over the left-out sources: a row per predictor."""
    rows = [
        [name, *(str(unseen.mean(name, measure)) for measure in measures())]
        for name in predictors(unseen)
    ]
    return markdown_table(["mean of unseen sources", *_TITLES.values()], rows)


def known_table(unseen: Unseen) -> str:
    """All prompts of unseen sets in known domains: a row per predictor."""
    rows = [
        [name, *(str(unseen.known(name, measure)) for measure in TIER_MEASURES)]
        for name in predictors(unseen)
    ]
    titles = [_TITLES[measure] for measure in TIER_MEASURES]
    return markdown_table(["unseen sets of known domains", *titles], rows)


def split_table(unseen: Unseen, name: str) -> str:
    """Every split of one predictor, beside length: tiers first, then outcomes."""
    return "\n\n".join(
        markdown_table(
            ["left out", "prompts", *(_TITLES[m] for m in wanted), "length", "below length"],
            [_split_row(split, name, wanted) for split in splits],
        )
        for wanted, splits in (
            (tuple(TIER_MEASURES), _with(unseen.by_source, "tier_exact")),
            (tuple(OUTCOME_MEASURES), _with(unseen.by_source, "tau")),
            (tuple(TIER_MEASURES), unseen.by_set),
        )
    )


def trace_table(on_traces: Mapping[str, TraceFigures]) -> str:
    """A column per variant."""
    figures = {
        name: measured.by_name() | measured.controls_by_name()
        for name, measured in on_traces.items()
    }
    names = next(iter(figures.values()))
    rows = [[name, *(f"{found[name]:.4g}" for found in figures.values())] for name in names]
    return markdown_table(["traces", *figures], rows)


def as_report(unseen: Unseen | None, on_traces: Mapping[str, TraceFigures]) -> BenchReport:
    """Figures and intervals of the classifier; `controls` are named predictor.figure."""
    out = _out_of_source(unseen, GENERAL) if unseen else {}
    others = [name for name in predictors(unseen) if name != GENERAL] if unseen else []
    controls = {
        f"{name}.{figure}": estimate.value
        for name in others
        if unseen
        for figure, estimate in _out_of_source(unseen, name).items()
    }
    figures = {name: estimate.value for name, estimate in out.items()}
    for variant, measured in on_traces.items():
        prefix = "" if variant == "whole" else f"{variant}_"
        figures |= {f"{prefix}{name}": value for name, value in measured.by_name().items()}
        controls |= {f"{prefix}{k}": value for k, value in measured.controls_by_name().items()}
    if unseen:
        figures["splits_below_length"] = len(below_length(unseen))
    return BenchReport(
        name="predict",
        figures=figures,
        intervals={name: estimate.interval for name, estimate in out.items()},
        controls=controls,
    )


def predictors(unseen: Unseen) -> list[str]:
    """The classifier first."""
    return list(unseen.by_source[0].found)


def below_length(unseen: Unseen) -> list[str]:
    """Splits and measures in which length is better, and not by chance."""
    return [
        f"{split.name}: {_TITLES[measure]}"
        for split in unseen.by_source
        for measure in split.loses_to_length
    ]


def misses(unseen: Unseen) -> list[str]:
    """In words, what is below what was wanted."""
    found = []
    exact, within = (unseen.known(GENERAL, measure) for measure in TIER_MEASURES)
    if exact.value < _TARGET_EXACT:
        found.append(f"exact tiers in known domains: {exact}, {_TARGET_EXACT:.2f} were wanted")
    if within.value < _TARGET_WITHIN_ONE:
        found.append(f"within one tier there: {within}, {_TARGET_WITHIN_ONE:.2f} were wanted")
    for measure in measures():
        ours = unseen.mean(GENERAL, measure)
        for name in predictors(unseen)[1:]:
            if unseen.mean(name, measure).value > ours.value:
                found.append(f"{name} is better at {_TITLES[measure]} on the mean of sources")
    return found + [f"length is better on {place}" for place in below_length(unseen)]


def _out_of_source(unseen: Unseen, name: str) -> dict[str, Estimate]:
    found = {f"{measure}_out": unseen.mean(name, measure) for measure in measures()}
    for measure in TIER_MEASURES:
        found[f"{measure}_known"] = unseen.known(name, measure)
    for split in unseen.by_source:
        for measure, estimate in split.found[name].items():
            found[f"{measure}_out/{split.name}"] = estimate
    return found


def _with(splits: tuple[Split, ...], measure: str) -> tuple[Split, ...]:
    return tuple(split for split in splits if measure in split.found[GENERAL])


def _split_row(split: Split, name: str, wanted: tuple[str, ...]) -> list[str]:
    lengths = " / ".join(f"{split.found[LENGTH][measure].value:.3f}" for measure in wanted)
    below = ", ".join(_TITLES[measure] for measure in split.loses_to_length)
    ours = (str(split.found[name][measure]) for measure in wanted)
    return [split.name, str(split.num_rows), *ours, lengths, below or "no"]
