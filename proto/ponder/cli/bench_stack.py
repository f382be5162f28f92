"""A stack of its own for a benchmark: fresh data, free ports, the shipped model."""

import os
from pathlib import Path
from typing import TypeVar

import click

from ponder.cli.log import LastLines, say
from ponder.cli.processes import StackConfig
from ponder.cli.stack import Use, run_stack
from ponder.cli.stack_options import STACK_FAILURES
from ponder.cli.stop_signals import Stopped

T = TypeVar("T")


def run_bench_stack(directory: Path, use: Use[T], classifier: Path | None = None) -> T:
    """Bring a stack up in `directory`, return what `use` returns, stop it. `classifier` predicts in
    place of those that are shipped.

    Raises click.ClickException, after the last lines of its log, when it fails.
    """
    config = StackConfig(
        port=0,
        redis_url=None,
        data_dir=directory,
        model_dir=None,
        classifier=classifier,
        environment=os.environ,
    )
    log = LastLines()
    say("bringing a stack up")
    try:
        return run_stack(config, log, use)
    except Stopped as error:
        raise click.Abort from error
    except STACK_FAILURES as error:
        log.show()
        raise click.ClickException(str(error)) from error
