"""Reads the plain manifests as kubectl would, and renders overlays with kubectl itself."""

import subprocess
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.checks.manifests import Manifests, Object

# Overlays take their files from the top of deploy/, which has no kustomization of its own.
RENDER_OPTIONS = ("--load-restrictor", "LoadRestrictionsNone")
_KUBECTL = Path(sys.executable).with_name("kubectl")
_TIMEOUT_S = 60


class RenderError(Exception):
    """A file is no YAML, or an overlay does not fit its base."""


def plain(*directories: Path) -> Manifests:
    """What `kubectl apply -f DIRECTORY` applies of each, in its order. Raises RenderError."""
    paths = (path for directory in directories for path in sorted(directory.iterdir()))
    files = (path for path in paths if path.suffix in (".yaml", ".yml", ".json"))
    return Manifests(found for path in files for found in _documents(path.read_text(), str(path)))


def overlay(directory: Path) -> Manifests:
    """What kustomize makes of an overlay. Raises RenderError."""
    command = [str(_KUBECTL), "kustomize", *RENDER_OPTIONS, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RenderError(done.stderr.strip())
    return Manifests(_documents(done.stdout, str(directory)))


def _documents(text: str, source: str) -> Iterator[Object]:
    try:
        yield from (found for found in yaml.load_all(text, _StrictLoader) if found is not None)
    except yaml.YAMLError as error:
        raise RenderError(f"{source}: {error}") from error


class _StrictLoader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys; that is a mistake here."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key twice", node.start_mark)
        return found
