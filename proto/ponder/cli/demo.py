"""`ponder demo`: the whole stack, real questions, and what was learned from them."""

import os
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from ponder.cli.child import LineSink
from ponder.cli.client import Connection, RequestFailed, reasoner
from ponder.cli.demo_report import Report, as_document, outcome_table, shift_table
from ponder.cli.demo_run import DemoRun, Outcome, Shift
from ponder.cli.log import LastLines, print_line, say
from ponder.cli.output import print_json
from ponder.cli.processes import Addresses, StackConfig
from ponder.cli.questions import questions
from ponder.cli.stack import run_stack
from ponder.cli.stack_options import STACK_FAILURES, model_options
from ponder.cli.stop_signals import Stopped

_CONNECT_TIMEOUT_S = 10.0
# The router reads what was observed about once a second.
_SHIFT_TIMEOUT_S = 10.0
# Positions of the questions whose predictions are shown: Countdown with 3, 4, 5 and 6 numbers.
_PROBES = (7, 8, 9, 10, 11)
_PIPE_WIDTH = 120
_INTERRUPTED = 130

_EPILOG = """\b
Examples:
  ponder demo
  ponder demo --verbose                     with the log of every process
  ponder demo --json | jq .verdict
"""


@click.command(epilog=_EPILOG)
@model_options
@click.option("--verbose", is_flag=True, help="Show the log of every process, on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON document.")
def demo(model_dir: Path | None, classifier: Path | None, verbose: bool, as_json: bool) -> None:
    """Bring the whole stack up, ask it questions, show what it learned.

    Starts from nothing, in a temporary directory, on free ports. The answers are checked by exact
    arithmetic, not by the model. Exit status 0: every question was answered.
    """
    log = LastLines()
    with tempfile.TemporaryDirectory(prefix="ponder-demo-") as directory:
        config = StackConfig(
            port=0,
            redis_url=None,
            data_dir=Path(directory),
            model_dir=model_dir,
            classifier=classifier,
            environment=os.environ,
        )
        report = _run(config, print_line if verbose else log, log)
    _print(report, as_json)
    sys.exit(0 if report.all_answered else 1)


def _run(config: StackConfig, on_line: LineSink, log: LastLines) -> Report:
    """Ends the program with one line, after the last lines of the log, when the stack fails."""
    started_s = time.monotonic()
    try:
        outcomes, shifts = run_stack(config, on_line, _ask_and_learn)
    except Stopped:
        say("stopped")
        sys.exit(_INTERRUPTED)
    except (*STACK_FAILURES, RequestFailed) as error:
        log.show()
        raise click.ClickException(str(error)) from error
    return Report(outcomes=outcomes, shifts=shifts, duration_s=time.monotonic() - started_s)


async def _ask_and_learn(addresses: Addresses) -> tuple[list[Outcome], list[Shift]]:
    connection = Connection(target=addresses.router, api_key=None, timeout_s=_CONNECT_TIMEOUT_S)
    asked = questions()
    probes = [asked[position].prompt for position in _PROBES]
    async with reasoner(connection) as stub:
        run = DemoRun(stub, _tell)
        before = await run.plan_all(probes)
        say(f"the stack is up; asking {len(asked)} questions")
        outcomes = await run.ask_all(asked)
        return outcomes, await run.shifts(probes, before, _SHIFT_TIMEOUT_S)


def _tell(outcome: Outcome) -> None:
    result = "failed" if outcome.reply is None else outcome.reply.answer.strip()
    say(f"{outcome.question.prompt} -> {result}")


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(as_document(report))
        return
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    console.print(outcome_table(report.outcomes))
    console.print(shift_table(report.shifts))
    console.print(report.verdict(), style="bold")
