"""`ponder bench predict`: how good the predictions are, on unseen sources and on a model's traces.

Two questions, and a run answers either or both. `--general`: what the shipped recipe of the general
classifier is worth on prompts of sources that it never saw, which needs the collected prompts
(`--data`), as they are no part of Ponder. `--traces`: how well a classifier that was trained on one
model's traces predicts others of that model.
"""

import sys
from pathlib import Path

import click

from classifier.bench.controls import GENERAL, keyword_routers, trained
from classifier.bench.tables import as_report, known_table, split_table, summary_table, trace_table
from classifier.bench.trace_figures import TraceFigures, measure
from classifier.bench.unseen import Unseen, leave_out
from classifier.errors import ClassifierError, DatasetError, ExportError
from classifier.general.collected import Collection
from ponder.cli.bench import bench_options


@click.command()
@bench_options
@click.option("--general", is_flag=True, help="Leave one source out of the collected prompts.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="For --general: prompts.jsonl and outcomes.jsonl.",
)
@click.option(
    "--peers",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PYTHON",
    help="For --general: an interpreter with thinkbudget and litellm, the keyword routers.",
)
@click.option(
    "--traces",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Traces of one model, as workers.training.collect writes them.",
)
@click.option("--by-order", is_flag=True, help="For --traces: judge by the latest quarter.")
def predict(
    json_path: str | None,
    quick: bool,
    general: bool,
    data: Path | None,
    peers: Path | None,
    traces: Path | None,
    by_order: bool,
) -> None:
    """Predicted need: on unseen sources, and on a model's traces."""
    if general and data is None:
        raise click.UsageError("--general needs --data DIR, the collected prompts")
    if not general and traces is None:
        raise click.UsageError("nothing to measure: give --general --data DIR, or --traces FILE")
    try:
        unseen = _unseen(data, peers, quick) if general and data else None
        on_traces = _on_traces(traces, by_order) if traces else {}
    except (ClassifierError, DatasetError, ExportError) as error:
        raise click.ClickException(str(error)) from error
    if json_path != "-":
        _print(unseen, on_traces)
    if json_path:
        as_report(unseen, on_traces).write_json(json_path)


def _unseen(directory: Path, peers: Path | None, quick: bool) -> Unseen:
    data = Collection.read(directory)
    predictors = trained()
    if peers:
        predictors |= keyword_routers(peers, data)
    else:
        _say("without --peers the keyword routers are left out")
    return leave_out(data, predictors, _say, limit=1 if quick else None)


def _on_traces(path: Path, by_order: bool) -> dict[str, TraceFigures]:
    return {
        name: measure(path, by_order=by_order, censored=censored, report=_say)
        for name, censored in (("whole", False), ("censored", True))
    }


def _print(unseen: Unseen | None, on_traces: dict[str, TraceFigures]) -> None:
    """Markdown, each row on one line."""
    if unseen:
        for table in (summary_table(unseen), known_table(unseen), split_table(unseen, GENERAL)):
            click.echo(f"{table}\n")
    if on_traces:
        click.echo(trace_table(on_traces))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
