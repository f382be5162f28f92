"""Reading the tenants file, and finding the tenant of a key."""

import hashlib

import pytest

from ponder.environment import ConfigError
from ponder.plans import TenantPlan
from ponder.tenant_store import KeyRecord, TenantRecord
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_RESEARCH, TIER_SIMPLE, Tier
from router.errors import Unauthenticated
from router.tenants import Tenant, Tenants


def tenant(name: str, max_tier: Tier.ValueType = TIER_COMPLEX, **limits: int) -> Tenant:
    return Tenant(name, TenantPlan(max_tier=max_tier, **limits))


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
        assert found == tenant("acme")
    assert tenants.names == ("acme",)


@pytest.mark.parametrize("credential", ["", "Bearer", "Bearer wrong", "Basic k", sha256("k")])
def test_any_other_credential_is_refused(tmp_path, credential):
    tenants = load(tmp_path, entry("acme"))

    with pytest.raises(Unauthenticated, match="Bearer KEY"):
        tenants.authenticate({"authorization": credential})


def test_without_a_file_everybody_is_one_tenant():
    tenants = Tenants.open_to_all(TIER_RESEARCH)

    assert tenants.authenticate({}) == tenant("local", TIER_RESEARCH)


def test_a_plan_with_limits_and_subjects_is_read(tmp_path):
    text = entry("acme") + "tokens_per_minute = 9\nconcurrency = 2\nsubjects = ['spiffe://a/b']\n"
    tenants = load(tmp_path, text)

    expected = tenant("acme", tokens_per_minute=9, concurrency=2)
    assert tenants.authenticate({}, ["other", "spiffe://a/b"]) == expected
    with pytest.raises(Unauthenticated):
        tenants.authenticate({}, ["other"])


def test_a_key_decides_before_a_certificate(tmp_path):
    known = load(tmp_path, entry("a", keys=("ka",)) + entry("b", keys=("kb",)) + "subjects=['cn']")

    assert known.authenticate({"authorization": "Bearer ka"}, ["cn"]).name == "a"
    assert known.authenticate({}, ["cn"]).name == "b"
    with pytest.raises(Unauthenticated, match="unknown key"):
        known.authenticate({"authorization": "Bearer no"}, ["cn"])


def stored(name: str, key: str, max_tier: Tier.ValueType = TIER_SIMPLE) -> TenantRecord:
    record = KeyRecord(sha256=sha256(key), created_at_s=0.0)
    plan = TenantPlan(max_tier=max_tier)
    return TenantRecord(name=name, plan=plan, keys=(record,), created_at_s=0.0)


def test_stored_tenants_come_and_go_and_those_of_the_file_stay(tmp_path):
    tenants = load(tmp_path, entry("acme"))
    tenants.replace_stored({"new": stored("new", "n"), "acme": stored("acme", "k")})

    assert tenants.authenticate({"authorization": "Bearer n"}) == tenant("new", TIER_SIMPLE)
    assert tenants.authenticate({"authorization": "Bearer k"}) == tenant("acme")
    assert sorted(tenants.names) == ["acme", "new"]

    tenants.replace_stored({})
    assert tenants.names == ("acme",)
    with pytest.raises(Unauthenticated):
        tenants.authenticate({"authorization": "Bearer n"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must hold tables"),
        ("x =", "Invalid value"),
        (entry("acme") + "[other]\n", "nothing else"),
        (entry("a b"), "a name has"),
        (entry("acme", max_tier="all"), "max_tier: must be one of simple"),
        (entry("a") + entry("b"), "a key or subject is given twice"),
        ('[tenants.a]\nmax_tier = "simple"\n', "needs key_sha256 or subjects"),
        ("[tenants.a]\nkey_sha256 = []\n", "needs max_tier"),
        (entry("a") + "tokens_per_minute = -1\n", "tokens_per_minute: must be a whole number"),
        (entry("a") + "concurrency = true\n", "concurrency: must be a whole number"),
        (entry("a") + "tokens = 1\n", "tokens: unknown; a plan has max_tier"),
        (entry("a") + "subjects = ['a b']\n", "a subject has"),
        ('[tenants.a]\nmax_tier = "simple"\nkey_sha256 = ["plain"]\n', "SHA-256"),
        ('[tenants.a]\nmax_tier = "simple"\nkey_sha256 = "a"\n', "must be a list"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"ROUTER_TENANTS_FILE.*missing\.toml"):
        Tenants.load(tmp_path / "missing.toml")
