"""What a container finds in its environment, worked out as the kubelet does."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from deploy.checks.manifests import Manifests, Object

# What an operator puts into the secrets; the programs read it as they would the real thing.
_SECRETS = {
    ("redis", "url"): "redis://:password@redis.example.com:6379/0",
    ("redis", "password"): "password",
    ("huggingface", "token"): "hf_token",
    ("tenants", "path"): "/etc/ponder/tenants/tenants.toml",
}
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_SHELL_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


def environment(container: Object, manifests: Manifests) -> dict[str, str]:
    """The variables of the container. What is optional and made by hand is taken as not there."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        variables |= _data(source["configMapRef"]["name"], manifests)
    for variable in container.get("env", ()):
        value = _value(variable, variables, manifests)
        if value is not None:
            variables[variable["name"]] = value
    return variables


def read_by(container: Object, manifests: Manifests) -> dict[str, str]:
    """Those variables that the container's program reads; the ConfigMap holds those of others too.

    A container runs the program that it is named after; what it sets itself is always meant for it.
    """
    program = configurations().get(container["name"])
    names = {row.name for row in program.variables()} if program else set()
    names |= {variable["name"] for variable in container.get("env", ())}
    names |= used_by_command(container)
    found = environment(container, manifests)
    return {name: value for name, value in found.items() if name in names}


def configurations() -> dict[str, Any]:
    """The configuration class of each program, by name."""
    found = entry_points(group="ponder.configurations")
    return {name: found[name].load() for name in found.names}


def unresolved(container: Object, variables: Mapping[str, str]) -> Iterator[str]:
    """The $(NAME) that would stay as they are, in variables, command and arguments."""
    texts = "\n".join([*container.get("command", ()), *container.get("args", ())])
    yield from (name for name in _REFERENCE.findall(texts) if name not in variables)
    yield from _REFERENCE.findall("\n".join(variables.values()))


def used_by_command(container: Object) -> frozenset[str]:
    """The variables that fill the command, the arguments or other variables."""
    texts = [*container.get("command", ()), *container.get("args", ())]
    texts += [variable.get("value", "") for variable in container.get("env", ())]
    text = "\n".join(texts)
    return frozenset(_REFERENCE.findall(text) + _SHELL_REFERENCE.findall(text))


def _value(variable: Object, so_far: Mapping[str, str], manifests: Manifests) -> str | None:
    if "value" in variable:
        return _REFERENCE.sub(lambda m: so_far.get(m[1], m[0]), variable["value"])
    [(kind, source)] = variable["valueFrom"].items()
    if kind == "fieldRef":
        return f"the pod's {source['fieldPath']}"
    if kind == "configMapKeyRef":
        return _data(source["name"], manifests).get(source["key"])
    return None if source.get("optional") else _SECRETS.get((source["name"], source["key"]))


def _data(name: str, manifests: Manifests) -> dict[str, Any]:
    found = manifests.find("ConfigMap", name)
    return dict(found.get("data", {})) if found else {}
