"""`ponder classifier`: what predicts the need. Subcommands are found by entry point."""

import click

from ponder.cli.discovery import EntryPointGroup

CLASSIFIERS_GROUP = "ponder.classifiers"


@click.group(cls=EntryPointGroup, entry_points=CLASSIFIERS_GROUP)
def classifier() -> None:
    """Judge a new classifier before it serves."""
