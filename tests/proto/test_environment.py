"""Reading a configuration from environment variables: nothing is ignored, nothing is guessed."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder import environment
from ponder.environment import ConfigError, document, help_text, read, required, variable


@dataclass(frozen=True, slots=True, kw_only=True)
class OvenConfig:
    url: str = required(environment.redis_url, meaning="Where the shelf is.", secret=True)
    recipe: Path = required(environment.path, meaning="What to bake.")
    heat: float = variable(
        180.0, environment.number(50.0, 250.0), unit="C", meaning="How hot it gets."
    )
    trays: int | None = variable(
        None, environment.optional(environment.integer(1)), meaning="How many; auto: all."
    )
    fan: bool = variable(False, environment.switch, meaning="Whether the air is moved.")
    cooks: tuple[str, ...] = variable(("ann", "bo"), environment.names, meaning="Who may open it.")


NEEDED = {"OVEN_URL": "redis://localhost", "OVEN_RECIPE": "bread.txt"}


def baked(**values: str) -> OvenConfig:
    return read(OvenConfig, "OVEN_", {**NEEDED, **{f"OVEN_{k}": v for k, v in values.items()}})


def refusal(parse: environment.Parser[object], value: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(value)
    return str(caught.value)


def test_what_is_not_set_has_its_default():
    config = read(OvenConfig, "OVEN_", {**NEEDED, "PATH": "/bin", "STOVE_HEAT": "hot"})

    assert config == OvenConfig(url="redis://localhost", recipe=Path("bread.txt"))
    assert (config.heat, config.trays, config.fan) == (180.0, None, False)


def test_what_is_set_is_parsed():
    config = baked(HEAT="220", TRAYS="3", FAN="on", COOKS="cy, di")

    assert (config.heat, config.trays, config.fan) == (220.0, 3, True)
    assert config.cooks == ("cy", "di")


def test_every_mistake_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        read(OvenConfig, "OVEN_", {"OVEN_HAET": "1", "OVEN_URL": "x", "OVEN_HEAT": "hot"})

    assert str(caught.value).split("; ") == [
        "OVEN_HAET: unknown variable, did you mean OVEN_HEAT?",
        "OVEN_URL: must begin with one of redis://, rediss://, unix://",
        "OVEN_RECIPE must be set: What to bake",
        "OVEN_HEAT='hot': must be a number from 50.0 to 250.0",
    ]


def test_an_unknown_variable_unlike_any_other_has_no_suggestion():
    with pytest.raises(ConfigError, match=r"^OVEN_X: unknown variable$"):
        baked(X="1")


def test_a_refused_secret_is_not_repeated():
    with pytest.raises(ConfigError, match="OVEN_URL") as caught:
        baked(URL="http://cook:password@shelf")

    assert "password" not in str(caught.value)


def test_auto_means_none_and_is_how_none_is_documented():
    rows = {row.name: row.default for row in document(OvenConfig, "OVEN_")}

    assert baked(TRAYS="auto").trays is None
    assert rows["OVEN_TRAYS"] == "auto"


def test_documented_defaults_read_back_as_the_defaults():
    rows = document(OvenConfig, "OVEN_")
    defaults = {row.name: row.default for row in rows if row.default is not None}

    assert read(OvenConfig, "OVEN_", NEEDED | defaults) == baked()
    assert [row.name for row in rows if row.default is None] == list(NEEDED)


def test_the_help_names_default_unit_and_meaning():
    lines = help_text(document(OvenConfig, "OVEN_")).splitlines()

    assert lines[0] == "OVEN_URL  (must be set)"
    assert lines[4:6] == ["OVEN_HEAT  (default '180', C)", "    How hot it gets."]


@pytest.mark.parametrize("value", ["", "-1", "0", "8", "1.5", "²", "٣", "9" * 5_000])
def test_an_integer_is_ascii_digits_within_its_range(value):
    assert refusal(environment.integer(1, 7), value)


@given(st.integers(min_value=3))
def test_an_integer_without_an_upper_limit_may_be_any(value):
    assert environment.integer(3)(str(value)) == value


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-0.1", "1e400"])
def test_a_number_is_finite_and_within_its_range(value):
    assert refusal(environment.number(0.0), value) == "must be a number, 0.0 or more"


def test_open_ends_are_not_within():
    coverage = environment.number(0.0, 1.0, open_ends=True)

    assert coverage("0.5") == 0.5
    assert (
        refusal(coverage, "0") == refusal(coverage, "1") == "must be a number between 0.0 and 1.0"
    )


@pytest.mark.parametrize("value", ["127.0.0.1:0", "[::1]:65535", "host.example:80", "unix:/run/w"])
def test_an_address_is_host_and_port_or_a_path(value):
    assert environment.address(value) == value


@pytest.mark.parametrize("value", ["", "unix:", "host", ":80", "host:", "host:65536", "host:٣"])
def test_anything_else_is_no_address(value):
    assert "is no address; give host:port or unix:path" in refusal(environment.address, value)


@pytest.mark.parametrize("value", ["", " ", "a,,b", "a,a", "a,"])
def test_names_have_neither_gaps_nor_repetitions(value):
    assert refusal(environment.names, value)


def test_a_list_of_addresses_may_be_empty():
    assert environment.addresses(" ") == ()
    assert environment.addresses("a:1, unix:b") == ("a:1", "unix:b")


@pytest.mark.parametrize("parse", [environment.text, environment.path])
def test_an_empty_value_is_not_left_out(parse):
    assert "leave the variable out" in refusal(parse, " ")


def test_a_switch_is_on_or_off():
    assert refusal(environment.switch, "yes") == "must be one of on, off"


@pytest.mark.parametrize("value", ["", "abc", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_a_sha256_is_64_hexadecimal_digits(value):
    assert environment.sha256("0123456789abcdef" * 4)
    assert "64 hexadecimal digits" in refusal(environment.sha256, value)
