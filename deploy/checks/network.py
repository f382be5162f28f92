"""Whom a pod is told to call, it can: a Service has the port and the policies let it through."""

import re
from collections.abc import Iterator

from deploy.checks.environments import read_by
from deploy.checks.manifests import Manifests, Object, Pod, port_number, title

# Names without a dot are Services of the namespace, NAME-0.SERVICE is a pod of a StatefulSet.
_ADDRESS = re.compile(r"(?:^|[/@,])(?:[a-z0-9-]+-\d+\.)?([a-z][a-z0-9-]*):(\d+)")


def check_network(manifests: Manifests) -> Iterator[str]:
    """Nobody talks by default, and everybody whom an address names is allowed to."""
    yield from _default_deny(manifests)
    for pod, container, place in manifests.containers():
        text = "\n".join(read_by(container, manifests).values())
        for service, port in sorted(set(_ADDRESS.findall(text))):
            for problem in _call(pod, service, int(port), manifests):
                yield f"{place}: {service}:{port}: {problem}"


def _default_deny(manifests: Manifests) -> Iterator[str]:
    for policy in manifests.of_kind("NetworkPolicy"):
        spec = policy["spec"]
        is_empty = not spec.get("ingress") and not spec.get("egress")
        if spec["podSelector"] == {} and len(spec["policyTypes"]) == 2 and is_empty:
            return
    yield "no NetworkPolicy denies everything that is not allowed"


def _call(pod: Pod, name: str, port: int, manifests: Manifests) -> Iterator[str]:
    service = manifests.find("Service", name)
    if service is None:
        yield "there is no such Service"
        return
    targets = {p["port"]: p.get("targetPort", p["port"]) for p in service["spec"]["ports"]}
    if port not in targets:
        yield f"{title(service)} has no such port"
        return
    for callee in manifests.selected(service["spec"]["selector"]):
        for number in filter(None, (port_number(c, targets[port]) for c in callee.containers())):
            if not _is_allowed("egress", pod, callee, number, manifests):
                yield f"no NetworkPolicy lets {pod.name} out to {callee.name}"
            if not _is_allowed("ingress", callee, pod, number, manifests):
                yield f"no NetworkPolicy lets {pod.name} in to {callee.name}"


def _is_allowed(way: str, subject: Pod, peer: Pod, port: int, manifests: Manifests) -> bool:
    for policy in manifests.of_kind("NetworkPolicy"):
        spec = policy["spec"]
        if not _matches(spec["podSelector"], subject):
            continue
        for rule in spec.get(way, ()):
            peers = rule.get("to" if way == "egress" else "from")
            if _has_port(rule, port) and (peers is None or any(_is_peer(p, peer) for p in peers)):
                return True
    return False


def _has_port(rule: Object, port: int) -> bool:
    return any(p["port"] == port and p.get("protocol") == "TCP" for p in rule["ports"])


def _is_peer(rule: Object, pod: Pod) -> bool:
    return "namespaceSelector" not in rule and _matches(rule["podSelector"], pod)


def _matches(selector: Object, pod: Pod) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= pod.labels.items())
