"""The objects of one rendering, and the pods that they make."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

# Where the template of its pods stands in each kind.
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


@dataclass(frozen=True, slots=True)
class Pod:
    """The template of a workload's pods."""

    owner: Object
    template: Object

    @property
    def name(self) -> str:
        return title(self.owner)

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.template["metadata"].get("labels", {})
        return labels

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def is_long_lived(self) -> bool:
        return self.owner["kind"] not in ("CronJob", "Pod")

    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def claim_templates(self) -> list[Object]:
        return list(self.owner["spec"].get("volumeClaimTemplates", ()))


class Manifests:
    """The objects of one rendering, in its order."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self.objects = list(objects)

    def of_kind(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def find(self, kind: str, name: str) -> Object | None:
        """The object of that kind and name, or None."""
        found = [one for one in self.of_kind(kind) if one["metadata"]["name"] == name]
        return found[0] if found else None

    def pods(self) -> list[Pod]:
        workloads = [found for found in self.objects if found["kind"] in _TEMPLATES]
        return [Pod(found, _template(found)) for found in workloads]

    def selected(self, labels: Mapping[str, str]) -> list[Pod]:
        """The pods that carry all of the labels."""
        return [pod for pod in self.pods() if labels.items() <= pod.labels.items()]

    def containers(self) -> Iterator[tuple[Pod, Object, str]]:
        """Every container with its pod, and how to call it in a message."""
        for pod in self.pods():
            for container in pod.containers():
                yield pod, container, f"{pod.name}, container {container['name']}"


def title(found: Object) -> str:
    """How an object is called in a message."""
    return f"{found['kind']} {found['metadata']['name']}"


def port_number(container: Object, port: int | str) -> int | None:
    """The number of a container's port that is given by number or by name; None: it has no such."""
    for found in container.get("ports", ()):
        if port in (found["containerPort"], found.get("name")):
            number: int = found["containerPort"]
            return number
    return None


def _template(workload: Object) -> Object:
    found = workload
    for key in _TEMPLATES[workload["kind"]]:
        found = found[key]
    return found
