"""Each check finds the mistake that it is there for, and says where it is."""

import re

import pytest

from deploy.validate import problems, render


def broken(edit, rendering="deploy"):
    """What is found in the manifests after `edit` was done to them."""
    manifests = render(rendering)
    edit(manifests)
    return list(problems(manifests))


def pod(manifests, name):
    [found] = [one for one in manifests.pods() if one.owner["metadata"]["name"] == name]
    return found


def container(manifests, name):
    [found] = pod(manifests, name).containers()
    return found


def config(manifests):
    return manifests.find("ConfigMap", "ponder")["data"]


def rename(mapping, old, new):
    mapping[new] = mapping.pop(old)


def remove(manifests, kind, name):
    manifests.objects.remove(manifests.find(kind, name))


def listen(manifests, address):
    config(manifests)["ROUTER_LISTEN"] = address


def move(manifests, kind, name):
    found = manifests.find(kind, name)
    remove(manifests, kind, name)
    manifests.objects.insert(0, found)


MISTAKES = {
    "a misspelt field": (
        lambda m: rename(container(m, "router"), "readinessProbe", "readynessProbe"),
        r"Kubernetes 1\.30: Deployment router: .*readynessProbe",
    ),
    "a kind that does not exist": (
        lambda m: m.find("PodDisruptionBudget", "router").update(apiVersion="policy/v1beta1"),
        r"Kubernetes 1\.37: PodDisruptionBudget router: policy/v1beta1 has no such kind",
    ),
    "an object before its namespace": (
        lambda m: move(m, "Service", "router"),
        r"Namespace must come first",
    ),
    "an object in no namespace": (
        lambda m: m.find("Service", "redis")["metadata"].pop("namespace"),
        r"Service redis: is not in namespace ponder",
    ),
    "service links": (
        lambda m: pod(m, "router").spec.pop("enableServiceLinks"),
        r"Deployment router: enableServiceLinks must be false",
    ),
    "a token": (
        lambda m: m.find("ServiceAccount", "redis").pop("automountServiceAccountToken"),
        r"ServiceAccount redis: automountServiceAccountToken",
    ),
    "root": (
        lambda m: pod(m, "worker-easy").spec["securityContext"].update(runAsUser=0),
        r"StatefulSet worker-easy: must run as a user that is not root",
    ),
    "a writable root": (
        lambda m: container(m, "retrain")["securityContext"].pop("readOnlyRootFilesystem"),
        r"CronJob retrain, .*readOnlyRootFilesystem",
    ),
    "a capability": (
        lambda m: container(m, "redis")["securityContext"]["capabilities"].update(add=["CHOWN"]),
        r"StatefulSet redis, .*capabilities",
    ),
    "an image without a version": (
        lambda m: container(m, "router").update(image="localhost/ponder-router:latest"),
        r"Deployment router, .*names no version",
    ),
    "an image of others by tag": (
        lambda m: container(m, "redis").update(image="valkey/valkey:9.1.2"),
        r"StatefulSet redis, .*must be given by digest",
    ),
    "no memory limit": (
        lambda m: container(m, "worker-thinking")["resources"]["limits"].pop("memory"),
        r"StatefulSet worker-thinking, .*has no memory limit",
    ),
    "no probe": (
        lambda m: container(m, "otel-collector").pop("livenessProbe"),
        r"Deployment otel-collector, .*has no livenessProbe",
    ),
    "a probe of a port that is not there": (
        lambda m: container(m, "router")["startupProbe"]["grpc"].update(port=8801),
        r"Deployment router, .*startupProbe: there is no port 8801",
    ),
    "replicas beside an autoscaler": (
        lambda m: m.find("Deployment", "router")["spec"].update(replicas=3),
        r"Deployment router: .*undo the autoscaler",
    ),
    "a selector that misses its pods": (
        lambda m: (
            pod(m, "router")
            .template["metadata"]["labels"]
            .update({"app.kubernetes.io/name": "routers"})
        ),
        r"Service router: selects no pod",
    ),
    "a port that its pods do not have": (
        lambda m: m.find("Service", "redis")["spec"]["ports"][0].update(targetPort="valkey"),
        r"Service redis: StatefulSet redis has no port valkey",
    ),
    "a ConfigMap that is not there": (
        lambda m: remove(m, "ConfigMap", "otel-collector"),
        r"Deployment otel-collector: there is no ConfigMap otel-collector",
    ),
    "a key that a Secret does not have": (
        lambda m: container(m, "redis")["env"][0]["valueFrom"]["secretKeyRef"].update(key="pass"),
        r"StatefulSet redis, .*Secret redis has no key pass",
    ),
    "a volume that is not there": (
        lambda m: container(m, "router")["volumeMounts"][0].update(name="spools"),
        r"Deployment router, .*there is no volume spools",
    ),
    "an unknown variable": (
        lambda m: rename(config(m), "ROUTER_MAX_DURATION_S", "ROUTER_MAX_DURATION"),
        r"Deployment router, .*ROUTER_MAX_DURATION: unknown variable, did you mean",
    ),
    "a variable of no program": (
        lambda m: config(m).update(LOG_LEVEL="debug"),
        r"no program knows LOG_LEVEL",
    ),
    "a bad value": (
        lambda m: config(m).update(WORKER_MEMORY_FRACTION="85%"),
        r"StatefulSet worker-easy, .*WORKER_MEMORY_FRACTION='85%'",
    ),
    "a missing variable": (
        lambda m: config(m).pop("WORKER_MODEL_DIR"),
        r"StatefulSet worker-thinking, .*WORKER_MODEL_DIR must be set",
    ),
    "an exporter that is not installed": (
        lambda m: container(m, "router")["env"][3].update(value="otlp"),
        r"Deployment router, .*OTEL_METRICS_EXPORTER=otlp: no such exporter",
    ),
    "a worker that no router lists": (
        lambda m: m.find("StatefulSet", "worker-easy")["spec"].update(replicas=3),
        r"pool easy: worker-easy-2\.worker-easy:50061: the router does not list it",
    ),
    "a worker that does not run": (
        lambda m: m.find("StatefulSet", "worker-thinking")["spec"].update(replicas=1),
        r"pool thinking: worker-thinking-1\.worker-thinking:50061: no such worker runs",
    ),
    "a pod killed before it is drained": (
        lambda m: pod(m, "worker-thinking").spec.update(terminationGracePeriodSeconds=600),
        r"StatefulSet worker-thinking: is killed after 600 s, its drain takes 606 s",
    ),
    "a drain shorter than a request": (
        lambda m: config(m).update(ROUTER_DRAIN_GRACE_S="30"),
        r"Deployment router: drains 30 s, a request may take 600 s",
    ),
    "listening where nobody is": (
        lambda m: listen(m, "127.0.0.1:8800"),
        r"Deployment router: listens on 127\.0\.0\.1",
    ),
    "listening on another port": (
        lambda m: listen(m, "0.0.0.0:8801"),
        r"Deployment router: listens on 8801",
    ),
    "a Service that is not there": (
        lambda m: config(m).update(WORKER_REDIS_URL="redis://valkey:6379/0"),
        r"StatefulSet worker-easy, .*valkey:6379: there is no such Service",
    ),
    "a port that a Service does not have": (
        lambda m: config(m).update(ROUTER_REDIS_URL="redis://redis:6380/0"),
        r"Deployment router, .*redis:6380: Service redis has no such port",
    ),
    "a call that no policy lets out": (
        lambda m: remove(m, "NetworkPolicy", "otel-clients"),
        r"no NetworkPolicy lets Deployment router out to Deployment otel-collector",
    ),
    "a call that no policy lets in": (
        lambda m: pod(m, "retrain").template["metadata"]["labels"].pop("ponder/redis-client"),
        r"no NetworkPolicy lets CronJob retrain in to StatefulSet redis",
    ),
    "an open network": (
        lambda m: remove(m, "NetworkPolicy", "default-deny"),
        r"no NetworkPolicy denies everything",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_and_named(mistake):
    edit, expected = MISTAKES[mistake]

    found = broken(edit)

    assert any(re.search(expected, problem) for problem in found), found


def trigger(manifests):
    return manifests.find("ScaledObject", "worker-easy")["spec"]["triggers"][0]["metadata"]


PRODUCTION_MISTAKES = {
    "a misspelt field of a custom resource": (
        lambda m: rename(m.find("ScaledObject", "worker-easy")["spec"], "triggers", "trigger"),
        r"ScaledObject worker-easy: .*trigger",
    ),
    "a query for what nobody tells": (
        lambda m: trigger(m).update(query="sum(ponder_worker_wating)"),
        r"ScaledObject worker-easy: nothing tells ponder_worker_wating",
    ),
    "an autoscaler of nothing": (
        lambda m: m.find("ScaledObject", "worker-easy")["spec"]["scaleTargetRef"].update(name="w"),
        r"ScaledObject worker-easy: there is no StatefulSet w",
    ),
    "replicas beside an autoscaler": (
        lambda m: m.find("StatefulSet", "worker-easy")["spec"].update(replicas=2),
        r"StatefulSet worker-easy: .*undo the autoscaler",
    ),
    "a fixed list of workers that are scaled": (
        lambda m: config(m).update(ROUTER_EASY_WORKERS="worker-easy-0.worker-easy:50061"),
        r"pool easy: dns:///worker-easy:50061: the router does not list it",
    ),
    "TLS on one side": (
        lambda m: config(m).pop("ROUTER_WORKER_TLS_DIR"),
        r"StatefulSet worker-easy: speaks TLS or the router does, but not both",
    ),
    "certificates that are not mounted": (
        lambda m: config(m).update(WORKER_TLS_DIR="/etc/ponder/tls"),
        r"StatefulSet worker-easy: nothing is mounted at /etc/ponder/tls",
    ),
    "a probe that speaks no TLS": (
        lambda m: container(m, "worker-easy").update(livenessProbe={"grpc": {"port": 50061}}),
        r"StatefulSet worker-easy: livenessProbe of kind grpc speaks no TLS",
    ),
    "a certificate that nobody writes": (
        lambda m: remove(m, "Certificate", "worker"),
        r"StatefulSet worker-easy: there is no Secret worker-tls",
    ),
    "a certificate that nobody signs": (
        lambda m: remove(m, "Issuer", "worker-authority"),
        r"Certificate worker: there is no Issuer worker-authority",
    ),
}


@pytest.mark.parametrize("mistake", PRODUCTION_MISTAKES)
def test_a_mistake_in_the_production_overlay_is_found_and_named(mistake):
    edit, expected = PRODUCTION_MISTAKES[mistake]

    found = broken(edit, "production")

    assert any(re.search(expected, problem) for problem in found), found
