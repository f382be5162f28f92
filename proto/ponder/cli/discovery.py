"""Finds subcommands by entry point, so that router, workers and classifier can bring their own.

A distribution adds one with `[project.entry-points."ponder.commands"]`: `bench = "router.x:bench"`.
"""

import importlib.metadata
from typing import Any

import click

COMMAND_GROUP = "ponder.commands"


class EntryPointGroup(click.Group):
    """Imports a command's module only when that command, or the help of them all, is asked for."""

    def __init__(self, *args: Any, entry_points: str = COMMAND_GROUP, **options: Any) -> None:
        super().__init__(*args, **options)
        self._group = entry_points

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._entry_points().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Raises click.ClickException when what the command needs is not installed."""
        if built_in := super().get_command(ctx, cmd_name):
            return built_in
        found = self._entry_points().select(name=cmd_name)
        return _load(next(iter(found))) if found else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line per command; a command that cannot be loaded says why in its line."""
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in names])

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except click.ClickException as error:
            return f"({error.message})"
        return command.get_short_help_str(limit=80) if command else ""

    def _entry_points(self) -> importlib.metadata.EntryPoints:
        return importlib.metadata.entry_points(group=self._group)


def _load(entry_point: importlib.metadata.EntryPoint) -> click.Command:
    try:
        command: Any = entry_point.load()
    except (ImportError, AttributeError) as error:
        raise click.ClickException(
            f"`{entry_point.name}` is not available: {error}; is its extra of ponder installed?"
        ) from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"`{entry_point.name}`: {entry_point.value} is no command")
    return command
