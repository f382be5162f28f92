"""Write the model card of a trained model from its evaluation.

    python -m workers.training.card --model DIR --evaluation FILE.json [--trained-on TEXT]

The card is `README.md` in the model's directory. Every figure in it comes from the evaluation, the
training record or the model's own files; nothing is typed in by hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from workers.training import card_text
from workers.training.card_facts import ModelFacts, read_facts
from workers.training.countdown import MAX_VALUE
from workers.training.evaluation import Estimate, Evaluation, FamilyFigures
from workers.training.evaluator import RANDOM_CUTS, TIER_BUDGETS
from workers.training.targets import targets


def model_card(facts: ModelFacts, evaluation: Evaluation, trained_on: str | None) -> str:
    """Return the whole card, Markdown with a YAML head."""
    sections = [
        card_text.HEAD,
        _size(facts),
        card_text.data(),
        _training(facts, trained_on),
        _targets(evaluation),
        _accuracy(evaluation),
        *(_details(name, family) for name, family in evaluation.families.items()),
        _method(evaluation),
        _weaknesses(evaluation),
        card_text.LICENCE,
    ]
    return "\n\n".join(sections) + "\n"


def _size(facts: ModelFacts) -> str:
    rows = [
        ("Parameters", f"{facts.parameters:,}"),
        ("Architecture", facts.architecture),
        ("Shape", facts.shape),
        ("Vocabulary", f"{facts.vocabulary:,} tokens; every number up to {MAX_VALUE} is one token"),
        ("Positions", f"{facts.positions:,}, each layer sees the last {facts.window}"),
        (
            "Files",
            f"{facts.total_bytes / 1e6:.2f} MB, the largest {facts.largest_bytes / 1e6:.2f} MB",
        ),
    ]
    return "## Size\n\n" + _table(("", ""), rows)


def _training(facts: ModelFacts, trained_on: str | None) -> str:
    recipe = facts.recipe
    tokens = recipe["steps_done"] * recipe["rows"] * recipe["window"]
    rows = [
        ("Tokens", f"{tokens:,}, of {recipe['tokens']:,} planned"),
        ("Batches", f"{recipe['steps_done']:,} of {recipe['rows']} windows of {recipe['window']}"),
        ("Time", f"{recipe['seconds'] / 60:.0f} minutes"),
        ("Machine", trained_on or "not recorded"),
        ("Compute", f"{6 * facts.parameters * tokens:.1e} FLOP (6 x parameters x tokens)"),
        ("Optimiser", "Muon for the matrices, AdamW for embeddings and norms"),
        ("Learning rate", f"{recipe['learning_rate']:g} falling to zero"),
        ("Seed", str(recipe["seed"])),
    ]
    return "## Training\n\n" + _table(("", ""), rows) + "\n\n" + card_text.REPRODUCE


def _targets(evaluation: Evaluation) -> str:
    rows = []
    for target in targets():
        verdict = target.judge(evaluation)
        rows.append((target.name, target.goal, verdict.measured, _met(verdict.is_met)))
    return f"## Targets\n\n{card_text.TARGETS}\n\n" + _table(("", "goal", "measured", ""), rows)


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _accuracy(evaluation: Evaluation) -> str:
    budgets = list(evaluation.mix.accuracy)
    rows: list[Sequence[str]] = []
    for name, family in evaluation.families.items():
        rows.append((name, *(str(family.accuracy.get(b, "")) for b in budgets)))
        if family.oracle:
            rows.append((f"{name}, oracle", *(str(family.oracle[b]) for b in budgets)))
    head = ("thinking tokens", *(f"{budget:,}" for budget in budgets))
    return f"## Accuracy by thinking budget\n\n{card_text.ORACLE}\n\n" + _table(head, rows)


def _details(name: str, family: FamilyFigures) -> str:
    rows = [
        *_by_budget("accuracy gained up to", family.gains.items()),
        *_by_budget("behind the oracle at", family.oracle_gaps.items()),
        *((figure.replace("_", " "), e) for figure, e in family.figures.items()),
    ]
    mean, median = family.mean_thinking_tokens, family.median_thinking_tokens
    about = (
        f"{family.problems:,} problems, {mean:.0f} thinking tokens on average, median {median:g}."
    )
    table = _table(("", "value", "trials"), [(n, str(e), f"{e.count:,}") for n, e in rows])
    return f"### {name}\n\n{about}\n\n{table}"


def _by_budget(label: str, estimates: Iterable[tuple[int, Estimate]]) -> list[tuple[str, Estimate]]:
    return [(f"{label} {budget:,} tokens", estimate) for budget, estimate in estimates]


def _method(evaluation: Evaluation) -> str:
    return card_text.METHOD.format(
        split=evaluation.split,
        temperature=evaluation.temperature,
        seed=evaluation.seed,
        minutes=evaluation.seconds / 60,
        device=evaluation.device,
        tiers=", ".join(f"{budget:,}" for budget in TIER_BUDGETS),
        cuts=RANDOM_CUTS,
    )


def _weaknesses(evaluation: Evaluation) -> str:
    verdicts = [(target, target.judge(evaluation)) for target in targets()]
    measured = [
        f"{target.name}: {verdict.measured}, where the goal is {target.goal}."
        for target, verdict in verdicts
        if not verdict.is_met
    ]
    if gave_up := evaluation.mix.figures.get("gave_up"):
        measured.append(card_text.GAVE_UP.format(share=gave_up))
    lines = [*measured, *card_text.weaknesses()]
    return "## Known weaknesses\n\n" + "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--evaluation", type=Path, required=True, help="of evaluate --json")
    parser.add_argument("--trained-on", help="the machine that the training ran on")
    options = parser.parse_args(arguments)
    evaluation = Evaluation.read(options.evaluation)
    card = model_card(read_facts(options.model), evaluation, options.trained_on)
    (options.model / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
