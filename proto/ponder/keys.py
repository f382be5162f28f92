"""Names of the ledger's keys in Redis.

All keys of one model carry the same hash tag, so that one script may touch them on a cluster; so do
those of one tenant, whose plan counts over all models.
Names that come from outside are percent-encoded: none can end a hash tag or reach another's key.
"""

import re
from typing import Final
from urllib.parse import quote, unquote

FEEDBACK: Final = "ponder:feedback"
TENANTS: Final = "ponder:tenants"
"""Hash: of each tenant JSON with its plan and the hashes of its keys. Under the empty name how
often they were changed: where no tenant is left the hash still is."""
EPOCH: Final = "ponder:epoch"
"""String: drawn when the Redis was found empty. Another value means another data set."""
ALL_TRACES: Final = "ponder:{*}:traces"
"""Glob of the traces of all models."""
ALL_CLASSIFIERS: Final = "ponder:{*}:classifiers"
"""Glob of the classifiers of all models."""

_TRACES = re.compile(r"ponder:\{([^{}]+)\}:traces")
_CLASSIFIERS = re.compile(r"ponder:\{([^{}]+)\}:classifiers")


def settled(model: str, tenant: str, request_id: str) -> str:
    """String: the usage that the request was settled with."""
    return f"{_of_model(model)}:settled:{_encode(tenant)}:{_encode(request_id)}"


def totals(model: str, tenant: str) -> str:
    """Hash: what the tenant has spent."""
    return f"{_of_model(model)}:totals:{_encode(tenant)}"


def totals_of_all(model: str) -> str:
    """Glob of the totals of all tenants."""
    name = re.sub(r"([*?\[\]\\])", r"\\\1", _of_model(model))
    return f"{name}:totals:*"


def tenant_of_totals(key: str) -> str:
    """The tenant of a key that totals() made."""
    return unquote(key.rpartition(":")[2])


def counts(model: str, version: str, tenant: str | None, window: int) -> str:
    """Hash of one time window: `B:n:K` events in bin K and `B:r:K` requests at risk in it, among
    those whose predicted bin was B. Without a tenant: of all tenants together.

    A predicted bin means something only under the classifier that predicted it, so `version` has
    counts of its own: a new one starts from its prior, and nothing is added to old numbers.
    """
    return f"{_of_model(model)}:counts:{_encode(version)}:{_route(tenant)}:{window}"


def outcomes(model: str, version: str, tenant: str | None, window: int) -> str:
    """Hash of one time window, see ponder/outcomes.py. Without a tenant: of all together."""
    return f"{_of_model(model)}:outcomes:{_encode(version)}:{_route(tenant)}:{window}"


def corrections(model: str, version: str, tenant: str) -> str:
    """Hash: the correction of each tier, see ponder/corrections.py."""
    return f"{_of_model(model)}:corrections:{_encode(version)}:{_encode(tenant)}"


def traces(model: str) -> str:
    """Stream: one settlement per entry."""
    return f"{_of_model(model)}:traces"


def model_of_traces(key: str) -> str | None:
    """The inverse of traces(); None for any other key."""
    found = _TRACES.fullmatch(key)
    return unquote(found[1]) if found else None


def classifiers(model: str) -> str:
    """Hash: the ONNX file of each version."""
    return f"{_of_model(model)}:classifiers"


def model_of_classifiers(key: str) -> str | None:
    """The inverse of classifiers(); None for any other key."""
    found = _CLASSIFIERS.fullmatch(key)
    return unquote(found[1]) if found else None


def classifier_records(model: str) -> str:
    """Hash: of each version JSON that says when it was added, by whom, and what it learned from."""
    return f"{_of_model(model)}:classifiers:records"


def classifier_gates(model: str) -> str:
    """Hash: of each version the report of the gate, JSON."""
    return f"{_of_model(model)}:classifiers:gates"


def rollout(model: str) -> str:
    """Hash: which versions serve, see ponder/rollout.py."""
    return f"{_of_model(model)}:rollout"


def rollout_history(model: str) -> str:
    """List: the changes of the rollout, newest first."""
    return f"{_of_model(model)}:rollout:history"


def shadow(model: str, version: str, window: int) -> str:
    """Hash of one time window: how a shadow compared, see ponder/shadow.py."""
    return f"{_of_model(model)}:shadow:{_encode(version)}:{window}"


def quota(tenant: str) -> str:
    """Hash: what of its plan the tenant has used, see ponder/quotas.py."""
    return f"{_of_tenant(tenant)}:quota"


def reservations(tenant: str) -> str:
    """Hash: of each request under way the tokens that are kept for it, and until when."""
    return f"{_of_tenant(tenant)}:reservations"


def charged(tenant: str, model: str, request_id: str) -> str:
    """String: the request was charged to the tenant's plan."""
    return f"{_of_tenant(tenant)}:charged:{_encode(model)}:{_encode(request_id)}"


def changed(model: str) -> str:
    """Sorted set: of each version and tenant when their counts or corrections changed last, see
    ponder/changes.py.
    """
    return f"{_of_model(model)}:changed"


def uncharged(model: str) -> str:
    """Hash: of each settled request whose charge nobody has confirmed yet what it is to be charged,
    see ponder/charges.py.
    """
    return f"{_of_model(model)}:uncharged"


def _route(tenant: str | None) -> str:
    return "*" if tenant is None else _encode(tenant)


def _of_model(model: str) -> str:
    return f"ponder:{{{_encode(model)}}}"


def _of_tenant(tenant: str) -> str:
    # The colon keeps it apart from any model: theirs is encoded.
    return f"ponder:{{tenant:{_encode(tenant)}}}"


def _encode(name: str) -> str:
    return quote(name, safe="")
