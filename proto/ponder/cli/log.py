"""The readable log of several processes: each line under the name of its process, on stderr."""

from collections import deque

import click

_COLOURS = {"router": "cyan", "easy": "green", "thinking": "magenta"}
_NAME_WIDTH = 8
_NUM_LAST_LINES = 20


def print_line(name: str, line: str) -> None:
    """A LineSink. Colour only on a terminal."""
    prefix = click.style(f"{name:>{_NAME_WIDTH}} |", fg=_COLOURS.get(name))
    click.echo(f"{prefix} {line}", err=True)


def say(line: str) -> None:
    """One line of our own."""
    print_line("ponder", line)


class LastLines:
    """A LineSink that keeps the last lines, to be shown when something fails."""

    def __init__(self) -> None:
        self._lines: deque[tuple[str, str]] = deque(maxlen=_NUM_LAST_LINES)

    def __call__(self, name: str, line: str) -> None:
        self._lines.append((name, line))

    def show(self) -> None:
        for name, line in self._lines:
            print_line(name, line)
