"""Subcommands come from entry points of any installed distribution."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ponder.cli.discovery import COMMAND_GROUP, EntryPointGroup

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def declared() -> importlib.metadata.EntryPoints:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    return importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, COMMAND_GROUP)
        for name, value in project["entry-points"][COMMAND_GROUP].items()
    )


@pytest.fixture
def root(tmp_path, monkeypatch) -> click.Group:
    """A root command, in an environment with one more distribution installed."""
    (tmp_path / "extra_commands.py").write_text(
        "import click\n@click.command()\ndef greet():\n    'Greet.'\n    click.echo('hello')\n"
    )
    information = tmp_path / "extra-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        f"[{COMMAND_GROUP}]\n"
        "greet = extra_commands:greet\n"
        "broken = module_of_an_extra_that_is_missing:command\n"
        "nothing = extra_commands:click\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "extra_commands", raising=False)
    return EntryPointGroup(name="ponder")


@pytest.mark.parametrize("entry_point", declared(), ids=lambda entry_point: entry_point.name)
def test_every_declared_command_loads_and_its_help_teaches_with_examples(entry_point):
    command = entry_point.load()

    result = CliRunner().invoke(command, ["--help"])

    assert result.exit_code == 0
    assert f"ponder {entry_point.name}" in result.stdout.split("Examples:")[1]
    assert "--json" in result.stdout


def test_a_command_of_another_distribution_runs(root):
    assert CliRunner().invoke(root, ["greet"]).stdout == "hello\n"


def test_a_command_is_not_imported_until_it_is_asked_for(root):
    assert "greet" in root.list_commands(click.Context(root))
    assert "extra_commands" not in sys.modules


def test_help_lists_every_command_also_one_that_cannot_be_loaded(root):
    result = CliRunner().invoke(root, ["--help"])

    assert result.exit_code == 0
    assert "greet" in result.stdout
    assert "`broken` is not available" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("broken", "is its extra of ponder installed?"), ("nothing", "is no command")],
)
def test_a_command_that_cannot_be_loaded_says_why_in_one_line(root, name, reason):
    result = CliRunner().invoke(root, [name])

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert reason in line


def test_an_unknown_command_is_a_usage_error(root):
    assert CliRunner().invoke(root, ["dance"]).exit_code == 2
