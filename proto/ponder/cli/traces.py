"""`ponder traces`: what the ledger kept of each request. Subcommands are found by entry point."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from ponder.cli import variables
from ponder.cli.discovery import EntryPointGroup
from ponder.ledger import Ledger, LedgerConfig, LedgerUnavailable

TRACES_GROUP = "ponder.traces"
REDIS_VARIABLES = (variables.REDIS_URL, "ROUTER_REDIS_URL", "WORKER_REDIS_URL")
# A page of traces is a few megabytes, and nobody's request waits for it.
_TIMEOUT_S = 10.0

T = TypeVar("T")

_EPILOG = """\b
Examples:
  ponder traces tail                       one line per request, as they end
  ponder traces stats --model reference --json
  ponder traces drift --model reference    whether its classifier still fits
  ponder traces export --out traces        to Parquet; again: what came since
"""


@click.group(cls=EntryPointGroup, entry_points=TRACES_GROUP, epilog=_EPILOG)
def traces() -> None:
    """Follow, export and summarise the traces of requests.

    A trace holds the prompt only where the deployment keeps prompts (ROUTER_STORE_PROMPTS), and
    no command shows it unless asked to.
    """


def redis_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --redis-url as `redis_url`, None when it is neither given nor in the environment."""
    return click.option(
        "--redis-url",
        envvar=REDIS_VARIABLES,
        show_envvar=True,
        help="The ledger: redis://, rediss:// or unix://.",
    )(command)


def run_with_ledger(redis_url: str | None, use: Callable[[Ledger], Awaitable[T]]) -> T:
    """Runs a coroutine on the ledger. Raises click.ClickException in one line, without the URL,
    which may hold a password.
    """
    if redis_url is None:
        names = " or ".join(REDIS_VARIABLES)
        raise click.UsageError(f"where the ledger is: give --redis-url, or set {names}")
    try:
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=_TIMEOUT_S))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--redis-url") from error
    try:
        return asyncio.run(_closing(ledger, use))
    except LedgerUnavailable as error:
        raise click.ClickException(f"the ledger does not answer: {error}") from error


async def models_to_read(ledger: Ledger, model: str | None) -> list[str]:
    """The model asked for, or all that have traces. Raises click.ClickException for none."""
    models = [model] if model else await ledger.traced_models()
    if not models:
        raise click.ClickException("no traces yet: ask something, or name a model with --model")
    return models


async def _closing(ledger: Ledger, use: Callable[[Ledger], Awaitable[T]]) -> T:
    try:
        return await use(ledger)
    finally:
        await ledger.close()
