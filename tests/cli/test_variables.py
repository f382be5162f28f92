from click.testing import CliRunner

from ponder.cli import main


def test_an_unknown_variable_with_our_prefix_is_named_in_one_line(monkeypatch):
    monkeypatch.setenv("PONDER_TARGT", "127.0.0.1:1")

    result = CliRunner().invoke(main, ["config"])

    assert result.exit_code == 1
    [line] = result.output.splitlines()
    assert "PONDER_TARGT: unknown variable" in line


def test_known_variables_and_those_of_others_pass(monkeypatch):
    for name in ("PONDER_TARGET", "PONDER_API_KEY", "PONDEROSA"):
        monkeypatch.setenv(name, "x")

    assert CliRunner().invoke(main, ["config"]).exit_code == 0
