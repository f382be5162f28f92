"""What every pod, container and image must be, whatever it does."""

import re
from collections.abc import Iterator

from deploy.checks.manifests import Manifests, Object, Pod, title

_OWN_IMAGES = ("ponder-router", "ponder-worker", "ponder-trainer", "router", "worker", "trainer")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HOST_ACCESS = ("hostNetwork", "hostPID", "hostIPC")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def check_policy(manifests: Manifests) -> Iterator[str]:
    """Namespaces, accounts, security contexts, images, resources and probes."""
    yield from _namespace(manifests)
    for account in manifests.of_kind("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)}: automountServiceAccountToken must be false"
    for pod in manifests.pods():
        yield from (f"{pod.name}: {problem}" for problem in _pod(pod))
    for pod, container, place in manifests.containers():
        for check in (_security, _image, _resources):
            yield from (f"{place}: {problem}" for problem in check(container))
        if pod.is_long_lived:
            yield from (f"{place}: has no {probe}" for probe in _PROBES if probe not in container)
    yield from _scaling(manifests)


def is_own(container: Object) -> bool:
    """Whether it runs an image that is built here."""
    path = container["image"].partition("@")[0]
    return path.rsplit("/", 1)[-1].partition(":")[0] in _OWN_IMAGES


def _namespace(manifests: Manifests) -> Iterator[str]:
    first, *others = manifests.objects
    if first["kind"] != "Namespace":
        yield "the Namespace must come first: kubectl applies in the order of the files"
    for found in others:
        if found["metadata"].get("namespace") != first["metadata"]["name"]:
            yield f"{title(found)}: is not in namespace {first['metadata']['name']}"


def _pod(pod: Pod) -> Iterator[str]:
    spec, security = pod.spec, pod.spec.get("securityContext", {})
    for field in ("automountServiceAccountToken", "enableServiceLinks"):
        if spec.get(field) is not False:
            yield f"{field} must be false"
    if spec.get("serviceAccountName", "default") == "default":
        yield "has no service account of its own"
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "must run as a user that is not root, by number"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile must be RuntimeDefault"
    yield from (f"{field} must not be set" for field in _HOST_ACCESS if spec.get(field))
    for volume in spec.get("volumes", ()):
        if "hostPath" in volume:
            yield f"volume {volume['name']}: hostPath must not be used"
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume['name']}: emptyDir has no sizeLimit"


def _security(container: Object) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem must be true"
    if security.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield "capabilities must be dropped, ALL of them"


def _image(container: Object) -> Iterator[str]:
    path, _, digest = container["image"].partition("@")
    tag = path.rsplit("/", 1)[-1].partition(":")[2]
    if not digest and tag in ("", "latest"):
        yield f"image {container['image']}: names no version"
    if not is_own(container) and not _DIGEST.search(container["image"]):
        yield f"image {container['image']}: an image of others must be given by digest"


def _resources(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"requests no {name}"
    if "memory" not in limits:
        yield "has no memory limit"


def _scaling(manifests: Manifests) -> Iterator[str]:
    scaled = {a["spec"]["scaleTargetRef"]["name"] for a in _autoscalers(manifests)}
    for workload in (*manifests.of_kind("Deployment"), *manifests.of_kind("StatefulSet")):
        is_scaled = workload["metadata"]["name"] in scaled
        if is_scaled and "replicas" in workload["spec"]:
            yield f"{title(workload)}: applying its replicas would undo the autoscaler"
        if not is_scaled and "replicas" not in workload["spec"]:
            yield f"{title(workload)}: says no replicas, and nothing scales it"


def _autoscalers(manifests: Manifests) -> list[Object]:
    return [*manifests.of_kind("HorizontalPodAutoscaler"), *manifests.of_kind("ScaledObject")]
