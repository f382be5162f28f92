"""python -m classifier train|evaluate|show: learn from traces how much thinking a prompt needs."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from classifier.columns import Columns, Outcome, in_columns
from classifier.dataset import MAX_ROWS, Dataset
from classifier.drift.stability import Reference
from classifier.errors import ClassifierError, DatasetError, ExportError
from classifier.evaluate import Evaluation, evaluate
from classifier.export import check_parity, export
from classifier.hazards import HazardModel
from classifier.predictor import DifficultyClassifier
from classifier.readers import models_in, num_lines, read_columns, read_ledger
from classifier.report import bin_table, card, comparison_table, slice_table, to_json
from classifier.survival import (
    TIER_BUDGETS,
    Floats,
    median_need,
    smallest_sufficient_tier,
    survival_of,
)
from classifier.traces.parquet import is_parquet, num_parquet_rows
from classifier.train import Advance, num_fitted_rows, train, train_controls
from classifier.training_report.facts import Trained
from ponder.bins import NEED_BIN_EDGES
from ponder.ledger import Ledger, LedgerUnavailable

MAX_HELD_OUT_ROWS: Final = 5_000
"""On so many at most the graph is checked, and the reference of drift taken."""
REFERENCE: Final = Path(__file__).resolve().parent / "reference" / "difficulty.onnx"

_TRAIN_HELP: Final = """\
Trains on the traces of one reasoning model and writes one ONNX file, and beside it a Markdown card
with the evaluation. 60 % of the prompts train, 15 % choose the regularisation and calibrate, 25 %
judge; which prompt goes where depends on the prompt alone. Nothing is written unless the graph
computes what the training computes on at least 1,000 rows held out, so give it 3,000 traces or
more. Figures are weighted by the logged probabilities of the budgets, where traces have them, so
that cut and escalated requests bias none.

Of more than 80,000 rows to train on a sample is kept, in which the longest needs all are, and rows
weigh what they stand for.

Examples:

  ponder train --traces traces.jsonl --out new.onnx --report new.html
  ponder traces export --out traces && ponder train --traces traces --model NAME --out new.onnx
"""


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m classifier") -> int:
    """Returns the exit status: 0, or 1 after one line on standard error that says what to do."""
    options = _parser(program).parse_args(arguments)
    try:
        options.run(options)
    except (ClassifierError, DatasetError, ExportError, LedgerUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train|evaluate|show")
    raw = argparse.RawDescriptionHelpFormatter

    command = commands.add_parser(
        "train", help="traces -> ONNX file", description=_TRAIN_HELP, formatter_class=raw
    )
    _add_sources(command)
    command.add_argument("--out", type=Path, default=REFERENCE, help="default: the shipped file")
    command.add_argument(
        "--report",
        type=Path,
        metavar="PATH",
        help="write an HTML report with plots: a file FILE.html, or report.html in a folder",
    )
    command.set_defaults(run=_train)

    text = "Judges a classifier, beside three controls, on the test prompts of the traces."
    command = commands.add_parser("evaluate", help="judge a file by traces", description=text)
    _add_sources(command)
    _add_classifier(command)
    command.set_defaults(run=_evaluate)

    text = "Shows what a classifier was made from and, for every prompt given, what it predicts."
    command = commands.add_parser("show", help="predict for a prompt", description=text)
    _add_classifier(command)
    command.add_argument("prompts", nargs="*", metavar="PROMPT")
    command.add_argument("--json", action="store_true", help="JSON on standard output")
    command.set_defaults(run=_show)
    return parser


def _add_sources(command: argparse.ArgumentParser) -> None:
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--traces",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="JSON lines, or what `ponder traces export` wrote: a folder or a .parquet file",
    )
    source.add_argument("--redis", metavar="URL", help="the ledger's traces; needs --model")
    command.add_argument("--model", help="reasoning model; default: the only one in the files")
    command.add_argument("--json", action="store_true", help="JSON on standard output")


def _add_classifier(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--classifier",
        type=Path,
        default=REFERENCE,
        metavar="FILE",
        help="default: the shipped one",
    )


def _train(options: argparse.Namespace) -> None:
    to_html = _to_html() if options.report else None
    name, data = _read(options)
    with tqdm(desc="fitting", unit=" rows", total=num_fitted_rows(data), disable=None) as progress:
        model = train(data, _report, progress.update)
        serialized, parity = _exported(model, name, data)
        hazards = model.hazards(data.split("test").features)
        evaluations = _beside_controls(hazards, data, model.regularisation, progress.update)
    _write(options.out, serialized)
    served = DifficultyClassifier.load(options.out)
    text = card(served.version, served.metadata, evaluations, parity)
    _write(options.out.with_suffix(".md"), text.encode())
    _report(f"wrote {options.out} (version {served.version}) and its card")
    if to_html:
        trained = Trained(name, served.version, model, data, hazards, evaluations)
        _write(path := _report_path(options.report), to_html(trained).encode())
        _report(f"wrote {path}")
    _print(options, {"version": served.version, "parity": parity, **to_json(evaluations)}, text)


def _exported(model: HazardModel, name: str, data: Dataset) -> tuple[bytes, float]:
    """The graph, and by how much it differs from the model. Raises ExportError."""
    held_out = data.features[np.flatnonzero(data.splits != "train")[:MAX_HELD_OUT_ROWS]]
    reference = Reference.of(held_out, model.hazards(held_out))
    serialized = export(model, name, len(data.split("train")), reference)
    return serialized, check_parity(serialized, model, held_out)


def _to_html() -> Callable[[Trained], str]:
    """Asked for before the training, which takes minutes. Raises ClassifierError."""
    try:
        # Draws by matplotlib, which the trainer's image does not have.
        from classifier.training_report.page import to_html
    except ModuleNotFoundError as error:
        raise ClassifierError(
            f"--report needs {error.name}: pip install 'ponder[train]', or leave --report out"
        ) from error
    return to_html


def _report_path(path: Path) -> Path:
    return path if path.suffix == ".html" else path / "report.html"


def _evaluate(options: argparse.Namespace) -> None:
    served = DifficultyClassifier.load(options.classifier)
    options.model = options.model or served.model
    _, data = _read(options)
    rows = data.split("test").features
    hazards = np.stack([served.predict_vector(row) for row in tqdm(rows, disable=None)])
    with tqdm(desc="controls", unit=" rows", disable=None) as progress:
        regularisation = served.metadata.regularisation
        evaluations = _beside_controls(hazards, data, regularisation, progress.update)
    text = f"{comparison_table(evaluations)}\n\n{slice_table(evaluations['classifier'])}"
    _print(options, {"version": served.version, **to_json(evaluations)}, text)


def _beside_controls(
    hazards: Floats, data: Dataset, regularisation: float, advance: Advance
) -> dict[str, Evaluation]:
    test = data.split("test")
    controls = train_controls(data, regularisation, _report, advance)
    return {
        "classifier": evaluate(hazards, test),
        **{name: evaluate(c.hazards(test.features), test) for name, c in controls.items()},
    }


def _show(options: argparse.Namespace) -> None:
    served = DifficultyClassifier.load(options.classifier)
    predictions = [_prediction(served, prompt) for prompt in options.prompts]
    head = f"version {served.version}, for {served.model}\n\n{bin_table(served.metadata)}"
    texts = [_describe(prediction) for prediction in predictions]
    record = {"version": served.version, "model": served.model, "predictions": predictions}
    _print(options, record, "\n".join([head, *texts]))


def _prediction(served: DifficultyClassifier, prompt: str) -> dict[str, Any]:
    survival = survival_of(served.predict(prompt)[np.newaxis])
    median = float(median_need(survival)[0])
    return {
        "prompt": prompt,
        "tier": list(TIER_BUDGETS)[int(smallest_sufficient_tier(survival)[0])],
        "median_tokens": round(min(median, NEED_BIN_EDGES[-1])),
        "survival": dict(zip(NEED_BIN_EDGES, survival[0].round(4).tolist(), strict=True)),
    }


def _describe(prediction: dict[str, Any]) -> str:
    curve = "  ".join(f">{edge} {share:.0%}" for edge, share in prediction["survival"].items())
    tier, median = prediction["tier"], prediction["median_tokens"]
    return f"\n{prediction['prompt']}\n  tier {tier}, median {median} tokens\n  need {curve}"


def _read(options: argparse.Namespace) -> tuple[str, Dataset]:
    if options.redis:
        if not options.model:
            raise DatasetError("--model is missing: name the reasoning model to read from Redis")
        outcomes = asyncio.run(_read_redis(options.redis, options.model))
        return options.model, Dataset.of_columns(in_columns(outcomes), MAX_ROWS)
    model = options.model or _only_model(options.traces)
    return model, Dataset.of_columns(_read_files(options.traces, model), MAX_ROWS)


def _read_files(paths: Sequence[Path], model: str) -> Iterator[Columns]:
    for path in paths:
        total = num_parquet_rows(path, model) if is_parquet(path) else num_lines(path)
        with tqdm(desc=path.name, unit=" traces", total=total, disable=None) as progress:
            for rows in read_columns(path, model):
                progress.update(len(rows))
                yield rows


async def _read_redis(url: str, model: str) -> list[Outcome]:
    try:
        ledger = Ledger.from_url(url)
    except ValueError as error:
        raise DatasetError(f"--redis {url!r}: {error}") from error
    try:
        found = [outcome async for outcome in read_ledger(ledger, model)]
        usable = [outcome for outcome in found if outcome is not None]
        _report(f"{len(found)} traces of {model} in Redis, {len(usable)} of them usable")
        return usable
    finally:
        await ledger.close()


def _only_model(paths: Sequence[Path]) -> str:
    models = models_in(paths)
    if len(models) != 1:
        raise DatasetError(f"the traces are of models {models}: choose one with --model")
    return models[0]


def _write(path: Path, contents: bytes) -> None:
    """Whole or not at all: a router may be loading the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(contents)
    partial.replace(path)


def _report(line: str) -> None:
    tqdm.write(line, file=sys.stderr)  # above a bar, if there is one


def _print(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record, indent=2) if options.json else text)


if __name__ == "__main__":
    sys.exit(main())
