"""Every object against the schemas of several Kubernetes versions. Unknown fields are errors."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from deploy.checks.manifests import Manifests, Object, title

# The oldest that has everything the manifests use (preStop sleep is on from 1.30), one between,
# and the newest.
VERSIONS = ("1.30", "1.34", "1.37")
_CUSTOM = Path(__file__).with_name("custom")


def check_schemas(manifests: Manifests) -> Iterator[str]:
    """The message names the version, the object and the field."""
    for version in VERSIONS:
        for found in manifests.objects:
            for message in _errors(found, version):
                yield f"Kubernetes {version}: {title(found)}: {message}"


def _errors(found: Object, version: str) -> Iterator[str]:
    group, _, api = found["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (found["kind"].lower(), group.split(".")[0], api)))
    validator = _custom_validator(name) or _validator(version, name)
    if validator is None:
        yield f"{found['apiVersion']} has no such kind"
        return
    for error in validator.iter_errors(found):
        yield f"{error.json_path}: {error.message[:200]}"


@cache
def _custom_validator(name: str) -> Draft202012Validator | None:
    """Of kinds that others bring: no version of Kubernetes has them."""
    path = _CUSTOM / f"{name}.json"
    return Draft202012Validator(json.loads(path.read_text())) if path.is_file() else None


@cache
def _validator(version: str, name: str) -> Draft202012Validator | None:
    path = _directory(version) / f"{name}.json"
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_text()), registry=_registry(version))


@cache
def _registry(version: str) -> "Registry[Any]":
    contents = json.loads((_directory(version) / "_definitions.json").read_text())
    return Resource.from_contents(contents) @ Registry()


def _directory(version: str) -> Traversable:
    return files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
