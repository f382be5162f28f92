"""Whatever one object says of another: names, selectors, ports, keys, volumes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.checks.manifests import Manifests, Object, Pod, port_number, title

# What an operator makes by hand, see deploy/README.md; with the keys that it has.
BY_HAND: Mapping[tuple[str, str], frozenset[str]] = {
    ("Secret", "redis"): frozenset({"url", "password"}),
    ("Secret", "tenants"): frozenset({"path", "tenants.toml"}),
    ("Secret", "huggingface"): frozenset({"token"}),
    ("ConfigMap", "classifier"): frozenset({"path", "difficulty.onnx"}),
}
_KINDS = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def check_references(manifests: Manifests) -> Iterator[str]:
    """Each message names the object that says it and what is not there."""
    yield from _duplicates(manifests)
    yield from _services(manifests)
    yield from _selectors(manifests)
    yield from _issuers(manifests)
    for pod in manifests.pods():
        yield from (f"{pod.name}: {problem}" for problem in _workload(pod, manifests))
    for pod, container, place in manifests.containers():
        yield from (f"{place}: {p}" for p in _container_references(container, manifests))
        yield from (f"{place}: {p}" for p in _mounts(pod, container))
        yield from (f"{place}: {p}" for p in _probe_ports(container))


def _duplicates(manifests: Manifests) -> Iterator[str]:
    for name, count in Counter(map(title, manifests.objects)).items():
        if count > 1:
            yield f"{name}: defined {count} times"


def _services(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of_kind("Service"):
        pods = manifests.selected(service["spec"]["selector"])
        if not pods:
            yield f"{title(service)}: selects no pod"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in pods:
                if not any(port_number(container, target) for container in pod.containers()):
                    yield f"{title(service)}: {pod.name} has no port {target}"


def _selectors(manifests: Manifests) -> Iterator[str]:
    for budget in manifests.of_kind("PodDisruptionBudget"):
        if not manifests.selected(budget["spec"]["selector"]["matchLabels"]):
            yield f"{title(budget)}: selects no pod"
    for policy in manifests.of_kind("NetworkPolicy"):
        for selector in _pod_selectors(policy["spec"]):
            if not manifests.selected(selector.get("matchLabels", {})):
                yield f"{title(policy)}: {selector} selects no pod"
    for scaler in (
        *manifests.of_kind("HorizontalPodAutoscaler"),
        *manifests.of_kind("ScaledObject"),
    ):
        target = scaler["spec"]["scaleTargetRef"]
        if manifests.find(target["kind"], target["name"]) is None:
            yield f"{title(scaler)}: there is no {target['kind']} {target['name']}"


def _issuers(manifests: Manifests) -> Iterator[str]:
    """Who signs is there, and so is the Secret that it signs with."""
    for certificate in manifests.of_kind("Certificate"):
        name = certificate["spec"]["issuerRef"]["name"]
        if manifests.find("Issuer", name) is None:
            yield f"{title(certificate)}: there is no Issuer {name}"
    for issuer in manifests.of_kind("Issuer"):
        secret = issuer["spec"].get("ca", {}).get("secretName")
        if secret and secret not in _issued(manifests):
            yield f"{title(issuer)}: there is no Secret {secret}"


def _issued(manifests: Manifests) -> frozenset[str]:
    """The Secrets that cert-manager writes."""
    return frozenset(c["spec"]["secretName"] for c in manifests.of_kind("Certificate"))


def _pod_selectors(policy: Object) -> Iterator[Object]:
    yield policy["podSelector"]
    for rule in (*policy.get("ingress", ()), *policy.get("egress", ())):
        for peer in (*rule.get("from", ()), *rule.get("to", ())):
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield peer["podSelector"]


def _workload(pod: Pod, manifests: Manifests) -> Iterator[str]:
    spec = pod.owner["spec"]
    selectors = [c["labelSelector"] for c in pod.spec.get("topologySpreadConstraints", ())]
    for selector in (*selectors, spec.get("selector", {})):
        if not selector.get("matchLabels", {}).items() <= pod.labels.items():
            yield f"{selector} does not select its own pods"
    if pod.owner["kind"] == "StatefulSet":
        service = manifests.find("Service", spec["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"there is no headless Service {spec['serviceName']}"
    account = pod.spec["serviceAccountName"]
    if manifests.find("ServiceAccount", account) is None:
        yield f"there is no ServiceAccount {account}"
    for volume in pod.spec.get("volumes", ()):
        yield from _volume(volume, manifests)


def _volume(volume: Object, manifests: Manifests) -> Iterator[str]:
    if found := volume.get("configMap"):
        yield from _missing("ConfigMap", found["name"], None, manifests)
    if found := volume.get("secret"):
        yield from _missing("Secret", found["secretName"], None, manifests)
    if found := volume.get("persistentVolumeClaim"):
        yield from _missing("PersistentVolumeClaim", found["claimName"], None, manifests)


def _container_references(container: Object, manifests: Manifests) -> Iterator[str]:
    sources: list[dict[str, Any]] = list(container.get("envFrom", ()))
    variables = container.get("env", ())
    sources += [found["valueFrom"] for found in variables if "valueFrom" in found]
    for source in sources:
        for field, found in source.items():
            if field in _KINDS:
                yield from _missing(_KINDS[field], found["name"], found.get("key"), manifests)


def _missing(kind: str, name: str, key: str | None, manifests: Manifests) -> Iterator[str]:
    if kind == "PersistentVolumeClaim" and name in _claims(manifests):
        return
    if kind == "Secret" and key is None and name in _issued(manifests):
        return
    found = manifests.find(kind, name)
    if found is None and (kind, name) not in BY_HAND:
        yield f"there is no {kind} {name}"
        return
    keys = found.get("data", {}) if found else BY_HAND[kind, name]
    if key is not None and key not in keys:
        yield f"{kind} {name} has no key {key}"


def _claims(manifests: Manifests) -> frozenset[str]:
    """Those that StatefulSets make of their templates."""
    return frozenset(
        f"{claim['metadata']['name']}-{pod.owner['metadata']['name']}-{index}"
        for pod in manifests.pods()
        if pod.owner["kind"] == "StatefulSet"
        for claim in pod.claim_templates()
        for index in range(pod.owner["spec"].get("replicas", 0))
    )


def _mounts(pod: Pod, container: Object) -> Iterator[str]:
    volumes = {volume["name"] for volume in pod.spec.get("volumes", ())}
    volumes |= {claim["metadata"]["name"] for claim in pod.claim_templates()}
    mounted = [mount["name"] for mount in container.get("volumeMounts", ())]
    yield from (f"there is no volume {name}" for name in mounted if name not in volumes)
    if len(pod.containers()) == 1:
        yield from (f"volume {name} is not mounted" for name in sorted(volumes - set(mounted)))


def _probe_ports(container: Object) -> Iterator[str]:
    for name in _PROBES:
        for way in ("grpc", "httpGet", "tcpSocket"):
            probed = container.get(name, {}).get(way)
            if probed and port_number(container, probed["port"]) is None:
                yield f"{name}: there is no port {probed['port']}"
