"""The card of the general classifier: what was measured, its weaknesses first."""

from typing import Final

from classifier.bench.controls import GENERAL
from classifier.bench.tables import known_table, misses, split_table, summary_table
from classifier.bench.unseen import Unseen
from classifier.general.collected import GENERATED, TIERS, Collection
from classifier.general.labels import TERSE_SHARE, TERSE_TOKENS, VERBOSE_TOKENS, tier_survival
from classifier.predictor import DifficultyClassifier
from classifier.report import markdown_table
from classifier.survival import COLD_COVERAGE
from ponder.bins import NEED_BIN_EDGES

_CARD: Final = """\
# The general difficulty classifier

Written by `python -m classifier.general --data DIR`; version `{version}`. It serves models of which
there are no traces. It has learned how hard people find a prompt, and how long the answers of other
models were; it knows nothing of the model it serves. {num_collected} collected prompts and
{num_generated} generated ones trained it (C = {regularisation:g}); the graph differs from
what was trained by at most {parity:.1e}.

It is a prior: the router begins at the tier that suffices with probability {coverage:.0%}, goes on
from there without losing a token, and counts what was needed. A model's own traces make a better
classifier within some thousand requests (`python -m classifier train`).

## What it is bad at

{misses}

Length often wins where a source has one tier that it always guesses, and on puzzles, of which the
same words take longer when there is more of them.

The medians of the labels, the weights of the rows, C and the coverage were chosen among eleven
combinations by these same figures, which flatters them a little.

Its probabilities are not calibrated for any model: the labels are wide by assumption, below. No
prompt is predicted with more certainty than the label of the simple or the research tier has.
Prompts in other languages, conversations, tool calls and long documents were seen only as made by
template, and nothing measures it on real ones. Of competition programming, open research outside
mathematics and long writing it has seen next to nothing.

## On sources that it has not seen

Every row judges models that were trained without the source. Length sees the number of bytes only,
with the same labels; TF-IDF is a logistic regression on words and word pairs; constant is the mean
curve;{peers} In brackets 95 % intervals by bootstrap.

{summary}

{known}

Each source, and each set of a known domain, beside length (in the order of the columns):

{splits}

## What the labels say

Share of requests that need more, by tier. A terse model (weight {share:g}) and a verbose one are
assumed, with the medians in the table, each log-normal.

{labels}
"""
_PEERS: Final = " thinkbudget and litellm are the keyword routers of these packages, as installed."
_NO_PEERS: Final = " keyword routers were not measured in this run."


def card(served: DifficultyClassifier, unseen: Unseen, data: Collection, parity: float) -> str:
    """Markdown. `data` is everything the served file was trained on."""
    num_generated = int((data.sources == GENERATED).sum())
    return _CARD.format(
        version=served.version,
        num_collected=len(data) - num_generated,
        num_generated=num_generated,
        regularisation=served.metadata.regularisation,
        parity=parity,
        coverage=COLD_COVERAGE,
        misses="\n".join(f"- {line}" for line in misses(unseen)) or "Nothing missed its target.",
        peers=_PEERS if "litellm" in unseen.by_source[0].found else _NO_PEERS,
        summary=summary_table(unseen),
        known=known_table(unseen),
        splits=split_table(unseen, GENERAL),
        share=TERSE_SHARE,
        labels=_label_table(),
    )


def _label_table() -> str:
    rows = [
        [
            tier,
            f"{TERSE_TOKENS[tier]:.0f} / {VERBOSE_TOKENS[tier]:.0f}",
            *(f"{share:.0%}" for share in tier_survival(tier)),
        ]
        for tier in TIERS
    ]
    header = ["tier", "terse / verbose", *(f"> {edge}" for edge in NEED_BIN_EDGES)]
    return markdown_table(header, rows)
