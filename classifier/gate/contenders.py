"""Which files meet in the gate: given as such, or versions of the store; and where the report goes.

A candidate of 4 to 16 hexadecimal digits that is no file is a version in the store.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from classifier.gate.report import GateReport
from classifier.metadata import GENERAL_MODEL
from classifier.predictor import DifficultyClassifier
from classifier.rollout.desk import Desk, at_desk
from classifier.rollout.stored import read_champion, read_version
from ponder.classifiers import ClassifierStore
from ponder.cli.traces import run_with_ledger
from ponder.ledger import Ledger

SHIPPED: Final = Path(__file__).resolve().parents[1] / "reference" / "difficulty.onnx"

_VERSION: Final = re.compile(r"[0-9a-f]{4,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contenders:
    """Both files, and the reasoning model. `stored_version` is empty for a candidate that was given
    as a file.
    """

    candidate: Path
    champion: Path
    model: str
    stored_version: str = ""

    @classmethod
    def find(
        cls,
        candidate: str,
        champion: Path | None,
        redis_url: str | None,
        model: str | None,
        directory: Path,
    ) -> "Contenders":
        """Files from the store are written into `directory`. Without a `champion` the version that
        serves is taken, and the shipped file where none does or no Redis is given.

        Raises click.ClickException, ClassifierError.
        """
        if _VERSION.fullmatch(candidate) and not Path(candidate).exists():
            return at_desk(
                redis_url, model, lambda d: _from_store(d, candidate, champion, directory)
            )
        if champion is None:
            champion = _serving(redis_url, model, directory)
        return cls(candidate=Path(candidate), champion=champion, model=model or _model_of(champion))

    def keep(self, report: GateReport, redis_url: str | None) -> None:
        """Put the report beside the version that it judges. Raises click.ClickException."""

        async def put(ledger: Ledger) -> None:
            store = ClassifierStore.beside(ledger)
            await store.put_gate(self.model, self.stored_version, report.as_dict())

        if self.stored_version:
            run_with_ledger(redis_url, put)


async def _from_store(
    desk: Desk, candidate: str, champion: Path | None, directory: Path
) -> Contenders:
    version = desk.version(candidate)
    serialized = await read_version(desk.store, desk.model, version)
    if champion is None:
        champion = _file(await read_champion(desk.store, desk.model), directory, "champion")
    return Contenders(
        candidate=_file(serialized, directory, "candidate"),
        champion=champion,
        model=desk.model,
        stored_version=version,
    )


def _serving(redis_url: str | None, model: str | None, directory: Path) -> Path:
    async def read(ledger: Ledger) -> bytes | None:
        store = ClassifierStore.beside(ledger)
        models = [model] if model else await store.models()
        if len(models) > 1:
            raise click.UsageError(f"there are {', '.join(models)}: choose one with --model")
        return await read_champion(store, models[0]) if models else None

    serialized = run_with_ledger(redis_url, read) if redis_url else None
    return _file(serialized, directory, "champion")


def _file(serialized: bytes | None, directory: Path, name: str) -> Path:
    if serialized is None:
        return SHIPPED
    path = directory / f"{name}.onnx"
    path.write_bytes(serialized)
    return path


def _model_of(champion: Path) -> str:
    model = DifficultyClassifier.load(champion).model
    if model == GENERAL_MODEL:
        raise click.UsageError("the champion serves any model: say of which, with --model")
    return model
