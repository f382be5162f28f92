"""What stops a stack before its processes start, and what the processes are started with."""

import fcntl
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from ponder.cli import main
from ponder.cli.processes import StackConfig, choose_addresses, stages
from ponder.cli.stack import StackError, run_stack
from ponder.cli.up import default_data_dir


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """Enough of a model to be accepted before a worker reads it."""
    directory = tmp_path / "a-model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    return directory


def config(
    data_dir: Path, model_dir: Path, port: int = 0, environment: dict[str, str] | None = None
) -> StackConfig:
    return StackConfig(
        port=port,
        redis_url=None,
        data_dir=data_dir,
        model_dir=model_dir,
        classifier=None,
        environment=environment or {},
    )


async def never(addresses) -> None:
    raise AssertionError("the stack came up")


def run(config: StackConfig) -> None:
    run_stack(config, lambda name, line: None, never)


def test_a_port_in_use_is_told_with_the_remedy(tmp_path, model_dir):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(StackError, match=rf"port {port} is in use: .*--port"):
            run(config(tmp_path / "data", model_dir, port=port))


def test_a_directory_without_a_model_is_told_with_the_remedy(tmp_path):
    with pytest.raises(StackError, match=r"holds no model .*--model"):
        run(config(tmp_path / "data", tmp_path))


def test_a_data_directory_that_cannot_be_made_is_told_with_the_remedy(tmp_path, model_dir):
    (tmp_path / "file").write_text("")

    with pytest.raises(StackError, match=r"cannot write to .*file/data: .*--data-dir"):
        run(config(tmp_path / "file" / "data", model_dir))


def test_two_stacks_do_not_share_a_data_directory(tmp_path, model_dir):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(StackError, match=r"another stack runs in .*--data-dir"):
            run(config(tmp_path, model_dir))


def test_up_fails_in_one_line(tmp_path):
    result = CliRunner().invoke(
        main, ["up", "--model", str(tmp_path), "--data-dir", str(tmp_path / "data")]
    )

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_the_parts_are_told_of_each_other(tmp_path, model_dir):
    chosen = config(tmp_path, model_dir, environment={"WORKER_THREADS": "2"})
    addresses = choose_addresses(0, "redis://r")

    (router,), (easy, thinking) = stages(chosen, addresses)

    assert router.environment["ROUTER_EASY_WORKERS"] == easy.environment["WORKER_LISTEN"]
    assert router.environment["ROUTER_THINKING_WORKERS"] == thinking.environment["WORKER_LISTEN"]
    assert {spec.environment["WORKER_MODEL_NAME"] for spec in (easy, thinking)} == {"a-model"}
    assert router.environment["ROUTER_MODELS"] == "a-model"
    assert len({easy.address, thinking.address, router.address}) == 3


def test_variables_of_the_user_are_passed_on_but_threads_are_one_unless_said(tmp_path, model_dir):
    said = config(tmp_path, model_dir, environment={"OMP_NUM_THREADS": "3", "WORKER_THREADS": "2"})
    silent = config(tmp_path, model_dir)
    addresses = choose_addresses(0, "redis://r")

    _, (worker, _) = stages(said, addresses)
    _, (default, _) = stages(silent, addresses)

    assert worker.environment["WORKER_THREADS"] == "2"
    assert worker.environment["OMP_NUM_THREADS"] == "3"
    assert default.environment["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("state_home", "expected"),
    [("/s", "/s/ponder"), ("", "/h/.local/state/ponder"), ("relative", "/h/.local/state/ponder")],
)
def test_the_default_data_directory_follows_xdg(monkeypatch, state_home, expected):
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("XDG_STATE_HOME", state_home)

    assert default_data_dir() == Path(expected)
