"""The command line `ponder`: a thin client of the contract, and a supervisor of local processes."""

from ponder.cli.main import main

__all__ = ["main"]
