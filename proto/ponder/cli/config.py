"""`ponder config`: the variables that configure each process, found by entry point.

A distribution adds a configuration with `[project.entry-points."ponder.configurations"]`:
`router = "router.config:RouterConfig"`, a class with a classmethod `variables()`.
"""

import importlib.metadata
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from ponder.cli.config_table import SectionMissing, markdown_table, variables_table, with_tables
from ponder.cli.output import print_json
from ponder.environment import Variable

CONFIGURATION_GROUP = "ponder.configurations"
# Wide enough for every row to be one line, for grep.
_PIPE_WIDTH = 240

_EPILOG = """\b
Examples:
  ponder config                        every process
  ponder config worker | grep TOKENS
  ponder config router --json | jq '.router[].name'
  ponder config --update README.md
"""

Tables = dict[str, list[Variable]]


@click.command(epilog=_EPILOG)
@click.argument("process", required=False, metavar="[openai|router|worker]")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON document.")
@click.option(
    "--update",
    "document",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Rewrite the tables that stand in FILE after <!-- config:router --> and the like.",
)
def config(process: str | None, as_markdown: bool, as_json: bool, document: Path | None) -> None:
    """List the environment variables that configure the processes.

    Name, default, unit and meaning of each. A process refuses to start on a variable of its prefix
    that is not listed here.
    """
    if sum((as_markdown, as_json, document is not None)) > 1:
        raise click.UsageError("--markdown, --json and --update: give only one of them")
    tables = configurations(process)
    if document is not None:
        _update(document, tables)
    elif as_json:
        print_json({name: list(map(asdict, rows)) for name, rows in tables.items()})
    elif as_markdown:
        click.echo("\n".join(map(markdown_table, tables.values())), nl=False)
    else:
        _print(tables)


def configurations(process: str | None = None) -> Tables:
    """The variables of one process, or of each that is installed, by name. Raises UsageError."""
    found = importlib.metadata.entry_points(group=CONFIGURATION_GROUP)
    if process is not None and process not in found.names:
        known = ", ".join(sorted(found.names))
        raise click.UsageError(f"{process!r} is no process; choose one of {known}")
    names = sorted(found.names) if process is None else [process]
    return {name: found[name].load().variables() for name in names}


def _update(document: Path, tables: Tables) -> None:
    try:
        text = with_tables(document.read_text(encoding="utf-8"), tables)
    except SectionMissing as error:
        raise click.ClickException(f"{document} {error}") from error
    document.write_text(text, encoding="utf-8")


def _print(tables: Tables) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    for name, variables in tables.items():
        console.print(variables_table(name, variables))
