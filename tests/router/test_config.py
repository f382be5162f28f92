"""The environment is read once, and everything wrong with it is said at once."""

import pytest

from ponder.environment import ConfigError
from ponder.exporters import meter_provider
from router.config import RouterConfig

NEEDED = {
    "ROUTER_EASY_WORKERS": "127.0.0.1:1",
    "ROUTER_THINKING_WORKERS": "127.0.0.1:2, unix:/run/w",
    "ROUTER_REDIS_URL": "redis://localhost",
    "ROUTER_SPOOL_DIR": "spool",
}


def test_what_must_be_set_is_enough():
    config = RouterConfig.from_env({**NEEDED, "OTHER": "x"})

    assert config.thinking_workers == ("127.0.0.1:2", "unix:/run/w")
    assert config.tiers_of("any").budgets == (50, 500, 2_000, 10_000)


def test_every_bad_and_unknown_variable_is_named():
    environ = {"ROUTER_COVRAGE": "0.9", "ROUTER_EXPLORATION": "2", "ROUTER_REDIS_URL": "localhost"}

    with pytest.raises(ConfigError) as caught:
        RouterConfig.from_env(environ)

    message = str(caught.value)
    assert "ROUTER_COVRAGE: unknown variable, did you mean ROUTER_COVERAGE?" in message
    assert "ROUTER_EXPLORATION='2': must be a number from 0.0 to 0.5" in message
    assert "ROUTER_REDIS_URL: must begin with" in message
    assert "ROUTER_SPOOL_DIR must be set" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "8800"),
        ("LISTEN", "host:99999"),
        ("MODELS", "a,,b"),
        ("MODELS", "a,a"),
        ("MAX_TIER", "huge"),
        ("TIER_BUDGETS", "50,500,2000"),
        ("TIER_BUDGETS", "500,50,2000,10000"),
        ("TIER_BUDGETS", "r1=50,500;1,2,3,4"),
        ("TIER_BUDGETS", ""),
        ("COVERAGE", "1"),
        ("COVERAGE", "nan"),
        ("MAX_PROMPT_BYTES", "-1"),
        ("MAX_PROMPT_BYTES", "1.5"),
        ("STORE_PROMPTS", "yes"),
        ("LOG_LEVEL", "loud"),
        ("CLASSIFIER", " "),
        ("DEFAULT_ANSWER_TOKENS", "2000"),
        ("THINKING_WORKERS", "127.0.0.1:1"),
        ("THINKING_WORKERS", "somewhere"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"ROUTER_{name}"):
        RouterConfig.from_env({**NEEDED, f"ROUTER_{name}": value})


def test_each_model_may_have_tiers_of_its_own():
    budgets = "r1=740,1200,6500,18000; 10,20,30,40"

    config = RouterConfig.from_env({**NEEDED, "ROUTER_TIER_BUDGETS": budgets})

    assert config.tiers_of("r1").budgets == (740, 1_200, 6_500, 18_000)
    assert config.tiers_of("other").budgets == (10, 20, 30, 40)


def test_tiers_of_a_model_that_is_not_served_are_refused():
    budgets = {"ROUTER_TIER_BUDGETS": "r2=1,2,3,4", "ROUTER_MODELS": "r1"}

    with pytest.raises(ConfigError, match="ROUTER_TIER_BUDGETS: r2 is not in ROUTER_MODELS"):
        RouterConfig.from_env({**NEEDED, **budgets})


def test_a_router_without_workers_is_refused():
    with pytest.raises(ConfigError, match="both empty"):
        RouterConfig.from_env({**NEEDED, "ROUTER_EASY_WORKERS": "", "ROUTER_THINKING_WORKERS": ""})


def test_the_documented_defaults_are_the_defaults():
    rows = RouterConfig.variables()
    documented = {row.name: row.default for row in rows if row.default}

    assert RouterConfig.from_env({**NEEDED, **documented}) == RouterConfig.from_env(NEEDED)
    assert all(row.meaning.endswith(".") for row in rows)
    assert {row.name for row in rows if row.default is None} == set(NEEDED)


def test_an_exporter_that_is_not_installed_is_named():
    with pytest.raises(ConfigError, match="OTEL_METRICS_EXPORTER='carrier-pigeon'"):
        meter_provider({"OTEL_METRICS_EXPORTER": "carrier-pigeon"}, "router")
