"""The root command. Its subcommands are found by entry point, see ponder/cli/discovery.py."""

import os

import click

from ponder.cli import variables
from ponder.cli.discovery import EntryPointGroup

_EPILOG = """\b
Examples:
  ponder demo                                   see all of it work, in about a minute
  ponder up                                     run the stack on this machine
  ponder ask "What is the capital of France?"   ask it, in a second terminal
  ponder plan "Reach 24 using each of 3, 5, 6 and 8 once."
"""


@click.group(
    cls=EntryPointGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="ponder", message="%(package)s %(version)s")
def main() -> None:
    """Decides how long a reasoning model thinks about each request.

    A router predicts how many thinking tokens an answer needs, picks a tier (simple, moderate,
    complex or research), and two pools of workers keep to it.
    """
    variables.refuse_unknown(os.environ)
