"""The environment variables of the command line itself; those of the processes are theirs."""

from collections.abc import Iterable
from typing import Final

import click

PREFIX: Final = "PONDER_"
TARGET: Final = "PONDER_TARGET"
API_KEY: Final = "PONDER_API_KEY"
REDIS_URL: Final = "PONDER_REDIS_URL"
SPAN_FILE: Final = "PONDER_SPAN_FILE"
TLS_DIR: Final = "PONDER_TLS_DIR"
_KNOWN: Final = (API_KEY, REDIS_URL, SPAN_FILE, TARGET, TLS_DIR)


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises click.ClickException that names every variable with our prefix that nobody reads."""
    unknown = [name for name in sorted(names) if name.startswith(PREFIX) and name not in _KNOWN]
    if unknown:
        raise click.ClickException(
            f"{', '.join(unknown)}: unknown variable; known are {', '.join(_KNOWN)}"
        )
