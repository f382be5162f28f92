"""`ponder up`: the whole stack on this machine, until Ctrl-C."""

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from ponder.cli.log import print_line, say
from ponder.cli.processes import DEFAULT_PORT, Addresses, StackConfig
from ponder.cli.stack import run_stack
from ponder.cli.stack_options import STACK_FAILURES, model_options
from ponder.cli.stop_signals import Stopped

_EPILOG = """\b
Examples:
  ponder up
  ponder up --port 9000 --data-dir ./state
  ponder up --redis-url redis://127.0.0.1:6379/0
  ROUTER_LOG_LEVEL=debug ponder up        variables of the processes are passed on

Then, in a second terminal:

\b
  ponder ask "Reach 24 using each of 3, 5, 6 and 8 once."
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Where the router listens; 0: any free port.",
)
@click.option("--redis-url", help="Use this Redis instead of starting one.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where Redis and the spools keep what was learned.  [default: $XDG_STATE_HOME/ponder]",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="When ready, print one JSON document.")
def up(
    port: int,
    redis_url: str | None,
    data_dir: Path | None,
    model_dir: Path | None,
    classifier: Path | None,
    as_json: bool,
) -> None:
    """Run the whole stack on this machine: Redis, a router and two workers.

    Ctrl-C stops all of it in order; what was learned is kept in the data directory.
    """
    config = StackConfig(
        port=port,
        redis_url=redis_url,
        data_dir=(data_dir or default_data_dir()).resolve(),
        model_dir=model_dir,
        classifier=classifier,
        environment=os.environ,
    )
    say(f"data directory {config.data_dir}")

    async def serve(addresses: Addresses) -> None:
        _announce(addresses, config.data_dir, as_json)
        await asyncio.Event().wait()

    try:
        run_stack(config, print_line, serve)
    except Stopped:
        say("stopped")
    except STACK_FAILURES as error:
        raise click.ClickException(str(error)) from error


def default_data_dir() -> Path:
    """Source: XDG Base Directory Specification 0.8, `$XDG_STATE_HOME`."""
    state = os.environ.get("XDG_STATE_HOME", "")
    root = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return root / "ponder"


def _announce(addresses: Addresses, data_dir: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**asdict(addresses), "data_dir": str(data_dir)}))
    say(f"easy worker {addresses.easy}, thinking worker {addresses.thinking}")
    say(f"redis {addresses.redis_url}")
    option = (
        "" if addresses.router.endswith(f":{DEFAULT_PORT}") else f" --target {addresses.router}"
    )
    say(f"ready on {addresses.router}; Ctrl-C stops")
    say(f'ask:  ponder ask{option} "Reach 24 using each of 3, 5, 6 and 8 once."')
