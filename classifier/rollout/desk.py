"""What the commands have in common: which store, which model, which version."""

import getpass
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from ponder.classifiers import ClassifierStore, VersionRecord
from ponder.cli.traces import redis_option, run_with_ledger
from ponder.ledger import Ledger
from ponder.rollout import FILES, Rollout, RolloutError

T = TypeVar("T")

_FEWEST_DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One model as the store has it now."""

    ledger: Ledger
    store: ClassifierStore
    model: str
    rollout: Rollout
    versions: Mapping[str, VersionRecord]

    def version(self, text: str) -> str:
        """The one that is meant: in full, or by its first digits. Raises click.ClickException."""
        found = [version for version in self.versions if version.startswith(text)]
        if len(found) == 1 and (text in found or len(text) >= _FEWEST_DIGITS):
            return found[0]
        if len(found) > 1:
            raise click.ClickException(f"{text} may be {', '.join(found)}: give more digits")
        known = ", ".join(self.versions) or "none"
        raise click.ClickException(
            f"no version {text} of {self.model} in the store; it has {known}"
        )


def desk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --redis-url, --model and --json as `redis_url`, `model`, `as_json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("--model", help="Of this reasoning model.  [default: the only one]"),
        redis_option,
    ):
        command = option(command)
    return command


def at_desk(redis_url: str | None, model: str | None, use: Callable[[Desk], Awaitable[T]]) -> T:
    """Runs a coroutine on what the store holds. Raises click.ClickException in one line."""

    async def seated(ledger: Ledger) -> T:
        store = ClassifierStore.beside(ledger)
        name = model or await _only_model(store)
        desk = Desk(
            ledger=ledger,
            store=store,
            model=name,
            rollout=await store.read_rollout(name) or Rollout(),
            versions=await store.versions(name),
        )
        return await use(desk)

    try:
        return run_with_ledger(redis_url, seated)
    except RolloutError as error:
        raise click.ClickException(str(error)) from error


def who() -> str:
    """For the history."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user without a name, as in containers
        return "somebody"


def in_words(rollout: Rollout) -> str:
    """One line: who decides."""
    champion = "the routers' own files" if rollout.champion == FILES else rollout.champion
    words = [f"champion {champion}"]
    if rollout.canary:
        words.append(f"canary {rollout.canary} with {rollout.canary_share:.1%} of the requests")
    if rollout.shadow:
        words.append(f"shadow {rollout.shadow}")
    if rollout.previous:
        words.append(f"before it {rollout.previous}")
    return ", ".join(words)


async def _only_model(store: ClassifierStore) -> str:
    models = await store.models()
    if not models:
        raise click.ClickException("no versions yet: put one in with `ponder classifier add`")
    if len(models) > 1:
        raise click.ClickException(f"there are {', '.join(models)}: choose one with --model")
    return models[0]
