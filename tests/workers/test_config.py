"""Reading the environment: every mistake is named, nothing is ignored."""

from pathlib import Path

import pytest

from ponder.environment import ConfigError
from workers.config import WorkerConfig
from workers.engine_host import engine_config

NEEDED = {
    "WORKER_MODEL_DIR": "/models/tiny",
    "WORKER_REDIS_URL": "redis://localhost",
    "WORKER_SPOOL_DIR": "/var/spool/worker",
}


def test_defaults_suffice_beside_the_three_that_must_be_set():
    config = WorkerConfig.from_env(NEEDED | {"PATH": "/bin"})

    assert (config.model, config.pool, config.threads) == ("tiny", "thinking", 1)
    assert config.spool_dir == Path("/var/spool/worker")
    assert config.kv_pages is None


def test_an_upstream_has_the_model():
    environ = {name: value for name, value in NEEDED.items() if name != "WORKER_MODEL_DIR"}

    config = WorkerConfig.from_env(environ | {"WORKER_UPSTREAM_URL": "http://gpu-1:8000/"})

    assert (config.upstream_url, config.model_dir) == ("http://gpu-1:8000", None)
    with pytest.raises(ConfigError, match="WORKER_MODEL_DIR must be set"):
        WorkerConfig.from_env(environ)


def test_every_bad_variable_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        WorkerConfig.from_env(
            {
                "WORKER_REDIS_URL": "localhost:6379",
                "WORKER_SPOOL_DIR": "",
                "WORKER_POOL": "hard",
                "WORKER_MAX_RUNING": "3",
            }
        )

    message = str(caught.value)
    for name in ("MODEL_DIR", "REDIS_URL", "SPOOL_DIR", "POOL", "MAX_RUNING"):
        assert f"WORKER_{name}" in message
    assert "WORKER_MAX_RUNING: unknown variable, did you mean WORKER_MAX_RUNNING?" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("THREADS", "0"),
        ("THREADS", "-1"),
        ("THREADS", "1.5"),
        ("THREADS", "²"),
        ("GRACE_S", "nan"),
        ("GRACE_S", "inf"),
        ("GRACE_S", "-1"),
        ("MEMORY_FRACTION", "2"),
        ("LISTEN", "50061"),
        ("LISTEN", "host:70000"),
        ("REFLECTION", "yes"),
        ("DTYPE", "int8"),
        ("KV_PAGES", "some"),
        ("MODEL_NAME", ""),
        ("UPSTREAM_URL", "gpu-1:8000"),
        ("UPSTREAM_URL", "http://"),
        ("UPSTREAM_THINK_CLOSE", ""),
    ],
)
def test_a_value_out_of_range_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"WORKER_{name}="):
        WorkerConfig.from_env(NEEDED | {f"WORKER_{name}": value})


@pytest.mark.parametrize(("pool", "cap"), [("easy", 500), ("thinking", 10_000)])
def test_the_pool_caps_the_budget_unless_told_otherwise(pool, cap):
    environ = NEEDED | {"WORKER_POOL": pool}

    assert WorkerConfig.from_env(environ).thinking_budget_cap == cap
    environ["WORKER_MAX_THINKING_BUDGET"] = "0"
    assert WorkerConfig.from_env(environ).thinking_budget_cap == 0


def test_the_table_lists_every_variable_and_its_defaults_are_valid():
    table = WorkerConfig.variables()
    defaults = {row.name: row.default for row in table if row.default is not None}

    required = {row.name for row in table if row.default is None}
    assert required == set(NEEDED) - {"WORKER_MODEL_DIR"}
    assert WorkerConfig.from_env(defaults | NEEDED) == WorkerConfig.from_env(NEEDED)
    assert all(row.meaning.endswith(".") for row in table)


def test_a_wrap_up_text_keeps_its_spaces():
    config = WorkerConfig.from_env(NEEDED | {"WORKER_WRAP_UP_TEXT": "\nSo: "})

    assert config.wrap_up_text == "\nSo: "


def test_the_engine_gets_its_part():
    engine = engine_config(WorkerConfig.from_env(NEEDED | {"WORKER_KV_PAGES": "77"}))

    assert engine.num_pages == 77
    assert engine.model_dir == Path("/models/tiny")
