"""`ponder classifier`: what predicts the need. Subcommands are found by entry point."""

import click

from ponder.cli.discovery import EntryPointGroup

CLASSIFIERS_GROUP = "ponder.classifiers"

_EPILOG = """\b
Examples:
  ponder classifier add new.onnx                       into the store, once it is checked
  ponder classifier gate 3f2a --traces traces          is it better? The store keeps the report
  ponder classifier shadow 3f2a                        predicts beside the champion, decides nothing
  ponder classifier canary 3f2a --share 0.05           decides one request in twenty
  ponder classifier promote 3f2a                       decides all
  ponder classifier rollback --reason "too slow"

A version may be shortened to its first digits. Running routers follow within
ROUTER_REFRESH_INTERVAL_S, without a restart. A canary that misses more often than it predicted, or
than the champion, is taken back by them; so is a champion in its first day.
"""


@click.group(cls=EntryPointGroup, entry_points=CLASSIFIERS_GROUP, epilog=_EPILOG)
def classifier() -> None:
    """Judge a new classifier, and roll it out step by step.

    Each subcommand prints lines for people, or with --json one document.
    """
