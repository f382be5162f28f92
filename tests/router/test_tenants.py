"""Reading the tenants file, and finding the tenant of a key."""

import hashlib

import pytest

from ponder.environment import ConfigError
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_RESEARCH
from router.errors import Unauthenticated
from router.tenants import Tenant, Tenants


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def load(tmp_path, text: str) -> Tenants:
    path = tmp_path / "tenants.toml"
    path.write_text(text)
    return Tenants.load(path)


def entry(name: str, max_tier: str = "complex", keys: tuple[str, ...] = ("k",)) -> str:
    digests = ", ".join(f'"{sha256(key)}"' for key in keys)
    return f'[tenants."{name}"]\nmax_tier = "{max_tier}"\nkey_sha256 = [{digests}]\n'


def test_each_of_several_keys_finds_the_tenant(tmp_path):
    tenants = load(tmp_path, entry("acme", keys=("old", "new")))

    for key in ("old", "new"):
        found = tenants.authenticate({"authorization": f"bearer {key}"})
        assert found == Tenant("acme", TIER_COMPLEX)
    assert tenants.names == ("acme",)


@pytest.mark.parametrize("credential", ["", "Bearer", "Bearer wrong", "Basic k", sha256("k")])
def test_any_other_credential_is_refused(tmp_path, credential):
    tenants = load(tmp_path, entry("acme"))

    with pytest.raises(Unauthenticated, match="Bearer KEY"):
        tenants.authenticate({"authorization": credential})


def test_without_a_file_everybody_is_one_tenant():
    tenants = Tenants.open_to_all(TIER_RESEARCH)

    assert tenants.authenticate({}) == Tenant("local", TIER_RESEARCH)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must hold tables"),
        ("x =", "Invalid value"),
        (entry("acme") + "[other]\n", "nothing else"),
        (entry("a b"), "a name has"),
        (entry("acme", max_tier="all"), "max_tier: must be one of simple"),
        (entry("a") + entry("b"), "a key is given twice"),
        ('[tenants.a]\nmax_tier = "simple"\n', "needs max_tier and key_sha256"),
        ('[tenants.a]\nmax_tier = "simple"\nkey_sha256 = ["plain"]\n', "SHA-256"),
        ('[tenants.a]\nmax_tier = "simple"\nkey_sha256 = []\n', "must be a list"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"ROUTER_TENANTS_FILE.*missing\.toml"):
        Tenants.load(tmp_path / "missing.toml")
