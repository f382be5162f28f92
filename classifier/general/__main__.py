"""python -m classifier.general --data DIR: make the general classifier, and its card, anew."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from classifier.bench.controls import keyword_routers, trained
from classifier.bench.unseen import leave_out
from classifier.errors import ClassifierError, DatasetError, ExportError
from classifier.export import check_parity, export
from classifier.general.card import card
from classifier.general.collected import Collection
from classifier.general.train import fit, with_generated
from classifier.metadata import GENERAL_MODEL
from classifier.predictor import DifficultyClassifier

SHIPPED: Final = Path(__file__).with_name("difficulty.onnx")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 after one line on standard error that says what to do."""
    options = _parser().parse_args(arguments)
    try:
        _make(options.data, options.peers, options.out)
    except (ClassifierError, DatasetError, ExportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifier.general", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of prompts.jsonl and outcomes.jsonl"
    )
    parser.add_argument("--peers", type=Path, help="interpreter with thinkbudget and litellm")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="default: the shipped file")
    return parser


def _make(directory: Path, peers: Path | None, out: Path) -> None:
    collected = Collection.read(directory)
    data = with_generated(collected)
    model = fit(data)
    serialized = export(model, GENERAL_MODEL, len(data))
    parity = check_parity(serialized, model, data.features)
    predictors = trained() | (keyword_routers(peers, collected) if peers else {})
    unseen = leave_out(collected, predictors, _say)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(serialized)
    served = DifficultyClassifier.load(out)
    out.with_suffix(".md").write_text(card(served, unseen, data, parity), encoding="utf-8")
    _say(f"wrote {out} (version {served.version}) and its card")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
