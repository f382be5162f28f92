"""`ponder config`, and that the README's tables are those of the code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ponder.cli import main
from ponder.cli.config import configurations
from ponder.cli.config_table import markdown_table, with_tables
from ponder.environment import Variable
from router.config import RouterConfig
from router.openai.config import DoorConfig
from workers.config import WorkerConfig

README = Path(__file__).parents[2] / "README.md"


def config(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments])


def test_the_readme_has_the_tables_of_the_configurations():
    text = README.read_text(encoding="utf-8")

    assert with_tables(text, configurations()) == text, "run: ponder config --update README.md"


def test_it_lists_every_process_one_line_per_variable():
    lines = config().stdout.splitlines()

    for row in [*DoorConfig.variables(), *RouterConfig.variables(), *WorkerConfig.variables()]:
        (line,) = (line for line in lines if row.name in line.split())
        assert line.rstrip().endswith(row.meaning)


def test_one_process_may_be_chosen():
    names = {word for word in config("worker").stdout.split() if word.isupper() and "_" in word}

    assert names >= {row.name for row in WorkerConfig.variables()}
    assert not any(name.startswith("ROUTER_") for name in names)


def test_as_json_it_is_every_field_of_every_variable():
    document = json.loads(config("--json").stdout)

    assert list(document) == ["openai", "router", "worker"]
    assert [Variable(**row) for row in document["router"]] == RouterConfig.variables()


def test_as_markdown_it_is_what_documents_hold():
    printed = config("router", "--markdown").stdout

    assert printed == markdown_table(RouterConfig.variables())


def test_markdown_says_what_the_text_says():
    row = Variable(name="A_B", default=None, unit="", meaning="`*.x` | </think> & more")

    assert markdown_table([row]).splitlines()[-1] == (
        r"| `A_B` | must be set |  | \`\*.x\` \| &lt;/think&gt; &amp; more |"
    )


def test_update_rewrites_the_tables_and_nothing_else(tmp_path):
    document = tmp_path / "GUIDE.md"
    document.write_text(
        "before\n<!-- config:worker -->\nold\n<!-- /config -->\nbetween\n"
        "<!-- config:openai -->\n<!-- /config -->\n"
        "<!-- config:router -->\n<!-- /config -->\nafter\n"
    )

    assert config("--update", str(document)).exit_code == 0

    text = document.read_text()
    assert [line for line in text.splitlines() if line and not line.startswith(("|", "<!--"))] == [
        "before",
        "between",
        "after",
    ]
    assert text.index("`WORKER_POOL`") < text.index("between") < text.index("`ROUTER_LISTEN`")


@pytest.mark.parametrize(
    "text",
    ["nothing here\n", "<!-- config:router -->\n<!-- config:worker -->\n<!-- /config -->\n"],
    ids=["no begin", "no end"],
)
def test_update_changes_nothing_where_the_place_for_the_table_is_unclear(tmp_path, text):
    document = tmp_path / "GUIDE.md"
    document.write_text(text)

    result = config("router", "--update", str(document))

    assert result.exit_code == 1
    assert "has no line <!-- config:router -->" in result.stderr
    assert document.read_text() == text


@pytest.mark.parametrize("arguments", [("clock",), ("--json", "--markdown")])
def test_a_wrong_use_is_told(arguments):
    assert config(*arguments).exit_code == 2


def test_it_loads_neither_torch_nor_numpy():
    program = (
        "import sys; from ponder.cli import main; main(['config'], standalone_mode=False); "
        "sys.exit(' '.join({'torch', 'numpy'} & sys.modules.keys()) or None)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )

    assert (ended.returncode, ended.stderr) == (0, "")
