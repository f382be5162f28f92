"""`ponder train`: the training of `python -m classifier train` among the other commands."""

import sys

import click

from classifier.__main__ import main


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Learn from a model's traces how much it thinks."""
    sys.exit(main(["train", *arguments], program="ponder"))
