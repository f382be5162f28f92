"""The report of a training as one HTML file: nothing is loaded from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from classifier.following import Following
from classifier.report import comparison_rows, slice_rows
from classifier.survival import (
    COVERAGE,
    TIER_BINS,
    TIER_BUDGETS,
    median_need,
    survival_of,
)
from classifier.training_report.facts import (
    SplitFacts,
    Surprise,
    Trained,
    largest_effects,
    reliability,
    split_facts,
    surprises,
)
from classifier.training_report.plots import (
    draw_coverage,
    draw_effects,
    draw_reliability,
    draw_spending,
)

NUM_EFFECTS: Final = 30
NUM_SURPRISES: Final = 15

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left }}
td.prompt {{ max-width: 30rem; overflow-wrap: anywhere; white-space: pre-wrap }}
svg {{ max-width: 100%; height: auto }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""


def to_html(trained: Trained) -> str:
    """The whole report."""
    title = f"Training of the classifier of {escape(trained.name)}, version {trained.version}"
    return _PAGE.format(title=title, sections="\n".join(_sections(trained)))


def _sections(trained: Trained) -> Iterator[str]:
    yield _section("Data", _splits(split_facts(trained.data)))
    yield _section("Beside the controls", _comparison(trained))
    yield _section("Reliability of P(need > budget)", _reliability(trained))
    yield _section(f"Coverage of the {COVERAGE:.0%} bound", _coverage(trained))
    yield _section("Predicted median and thinking spent", _spending(trained))
    yield _section("What it looks at", _effects(trained))
    yield _section("What it gets most wrong", _surprises(trained))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>"


def _splits(splits: Sequence[SplitFacts]) -> str:
    families = sorted({family for split in splits for family in split.families})
    header = ["split", "requests", "cut before they stopped", "decision logged", *families]
    rows = [
        [
            split.name,
            f"{split.num_rows}",
            f"{split.censored_share:.1%}",
            f"{split.decided_share:.1%}",
            *(f"{split.families.get(family, 0)}" for family in families),
        ]
        for split in splits
    ]
    return _table(header, rows) + _paragraph(
        "Requests train, choose the regularisation, or judge by their prompt alone: equal prompts "
        "are never in two splits. What was cut counts as long as it lasted."
    )


def _comparison(trained: Trained) -> str:
    text = (
        f"On {trained.judged.num_rows} requests it has not seen. Constant: one curve for all. "
        "Length only: sees the number of bytes. Shuffled labels: trained on the outcomes of others."
    )
    rows = comparison_rows(trained.evaluations)
    return _paragraph(text) + _table(["", *trained.evaluations], rows)


def _reliability(trained: Trained) -> str:
    survival, following = survival_of(trained.hazards), Following.of(trained.test)
    points = {
        name: reliability(survival[:, k], following.answers(budget))
        for k, (name, budget) in zip(TIER_BINS, TIER_BUDGETS.items(), strict=True)
    }
    text = (
        "On the requests that tell, weighted so that they stand for all; bars are 95 % intervals."
    )
    return _paragraph(text) + draw_reliability(points, trained.judged.calibration_error)


def _coverage(trained: Trained) -> str:
    bound = trained.judged.bound
    slices = {"all": bound, **trained.judged.bound_by_slice}
    text = (
        f"The bound is the first bin edge predicted to suffice for {COVERAGE:.0%}. As it is an "
        "edge, more is expected; expected and observed should agree within 2 points overall and "
        "within 5 in a slice of 300 requests or more. Smaller slices are mostly chance."
    )
    table = _table(["slice", "requests", "observed", "expected"], slice_rows(slices))
    return _paragraph(text) + draw_coverage(slices) + table


def _spending(trained: Trained) -> str:
    return draw_spending(median_need(survival_of(trained.hazards)), trained.test)


def _effects(trained: Trained) -> str:
    effects = largest_effects(trained.model, trained.data.split("train").features, NUM_EFFECTS)
    text = (
        f"The {len(effects)} features that move the logit of stopping most when they rise by one "
        "standard deviation. Hashed words and word pairs are known by their bucket only."
    )
    rows = [[effect.feature, f"{effect.logit:+.3f}"] for effect in effects]
    return _paragraph(text) + draw_effects(effects) + _table(["feature", "effect"], rows)


def _surprises(trained: Trained) -> str:
    found = surprises(trained.model, trained.hazards, trained.test, NUM_SURPRISES)
    header = ["surprise (nats)", "spent", "median", f"{COVERAGE:.0%} bound", "family", "prompt"]
    text = (
        "The requests whose outcome was least likely. Where the trace does not hold the prompt, "
        "the features stand in its place in which it differs most from others."
    )
    return _paragraph(text) + _table(header, [_surprise_row(each) for each in found])


def _surprise_row(surprise: Surprise) -> list[str]:
    spent = f"{surprise.thinking_tokens}"
    return [
        f"{surprise.log_loss:.2f}",
        f"{spent}, cut" if surprise.is_censored else spent,
        f"{surprise.median_tokens:.0f}",
        "none" if surprise.bound_tokens is None else f"{surprise.bound_tokens}",
        surprise.family,
        surprise.text,
    ]


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns named "prompt" may be long."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    classes = [' class="prompt"' if name == "prompt" else "" for name in header]
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{c}>{escape(cell)}</td>" for c, cell in zip(classes, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>\n{body}</table>\n"
