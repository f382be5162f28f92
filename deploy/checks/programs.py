"""What the programs themselves say of their environment: Ponder's own reader judges every value."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import environment_variables as otel_api
from opentelemetry.sdk import environment_variables as otel_sdk

from deploy.checks.environments import configurations, environment, unresolved, used_by_command
from deploy.checks.manifests import Manifests, Object, Pod, port_number
from deploy.checks.policy import is_own
from ponder.environment import ConfigError
from ponder.exporters import EXPORTER_GROUPS

# The router's server waits this long before it turns calls away, see ponder/rpc.py.
_ROUTER_NOTICE_S = 1.0
_ALL_OF = "dns:///"
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_OTEL = frozenset(name for name in (*vars(otel_api), *vars(otel_sdk)) if name.startswith("OTEL_"))


@dataclass(frozen=True, slots=True)
class Program:
    """A container that runs one of the programs, and the configuration that it would read."""

    pod: Pod
    container: Object
    config: Any


def check_programs(manifests: Manifests) -> Iterator[str]:
    """Unknown, missing and bad variables; addresses of workers; time to drain."""
    for _, container, place in manifests.containers():
        yield from (f"{place}: {problem}" for problem in _variables(container, manifests))
    programs, problems = _programs(manifests)
    yield from problems
    for program in programs.get("router", ()):
        yield from _pools(program, programs.get("worker", []))
        yield from _drains(program, programs.get("worker", []))
        yield from _tls(program, programs.get("worker", []))
    for program in (found for group in programs.values() for found in group):
        yield from _listening(program)


def _variables(container: Object, manifests: Manifests) -> Iterator[str]:
    variables = environment(container, manifests)
    known = _OTEL | used_by_command(container)
    if not is_own(container):  # what others read, they know
        known |= {variable["name"] for variable in container.get("env", ())}
    known |= {row.name for found in configurations().values() for row in found.variables()}
    yield from (f"no program knows {name}" for name in sorted(variables.keys() - known))
    yield from (f"$({name}) has no value" for name in unresolved(container, variables))
    for variable, group in EXPORTER_GROUPS.items():
        exporter = variables.get(variable, "none")
        if exporter != "none" and not entry_points(group=group, name=exporter):
            yield f"{variable}={exporter}: no such exporter is installed"


def _programs(manifests: Manifests) -> tuple[dict[str, list[Program]], list[str]]:
    """A container runs the program that it is named after."""
    programs: dict[str, list[Program]] = {}
    problems = []
    for pod, container, place in manifests.containers():
        name = container["name"]
        if name not in configurations():
            continue
        try:
            config = configurations()[name].from_env(environment(container, manifests))
        except ConfigError as error:
            problems.append(f"{place}: {error}")
        else:
            programs.setdefault(name, []).append(Program(pod, container, config))
    return programs, problems


def _pools(router: Program, workers: list[Program]) -> Iterator[str]:
    listed = {"easy": router.config.easy_workers, "thinking": router.config.thinking_workers}
    for pool, addresses in listed.items():
        there = {a for w in workers if w.config.pool == pool for a in _addresses(w)}
        for address in sorted(set(addresses) ^ there):
            where = "no such worker runs" if address in addresses else "the router does not list it"
            yield f"pool {pool}: {address}: {where}"


def _addresses(worker: Program) -> Iterator[str]:
    """One per pod; where an autoscaler says how many, the name of all of them."""
    spec, name = worker.pod.owner["spec"], worker.pod.owner["metadata"]["name"]
    port = worker.config.listen.rpartition(":")[2]
    if "replicas" not in spec:
        yield f"{_ALL_OF}{spec['serviceName']}:{port}"
    for index in range(spec.get("replicas", 0)):
        yield f"{name}-{index}.{spec['serviceName']}:{port}"


def _tls(router: Program, workers: list[Program]) -> Iterator[str]:
    """By both sides or by none; from folders that are mounted; probed by what speaks it."""
    calls_by_tls = bool(router.config.worker_tls_dir)
    yield from _mounted(router, router.config.worker_tls_dir)
    for worker in workers:
        serves_by_tls = worker.config.tls_dir is not None
        if serves_by_tls != calls_by_tls:
            yield f"{worker.pod.name}: speaks TLS or the router does, but not both"
        if serves_by_tls:
            yield from _mounted(worker, str(worker.config.tls_dir))
            probes = [name for name in _PROBES if "grpc" in worker.container.get(name, {})]
            yield from (f"{worker.pod.name}: {name} of kind grpc speaks no TLS" for name in probes)


def _mounted(program: Program, folder: str) -> Iterator[str]:
    mounts = {mount["mountPath"] for mount in program.container.get("volumeMounts", ())}
    if folder and folder not in mounts:
        yield f"{program.pod.name}: nothing is mounted at {folder}"


def _drains(router: Program, workers: list[Program]) -> Iterator[str]:
    """Nothing is cut off: a pod goes on for as long as the longest request takes."""
    longest_s = router.config.max_duration_s
    yield from _drain(router, _ROUTER_NOTICE_S, router.config.drain_grace_s, longest_s)
    for worker in workers:
        yield from _drain(worker, worker.config.notice_s, worker.config.grace_s, longest_s)


def _drain(program: Program, notice_s: float, grace_s: float, longest_s: float) -> Iterator[str]:
    hook = program.container.get("lifecycle", {}).get("preStop", {}).get("sleep")
    if hook is None:
        yield f"{program.pod.name}: has no preStop sleep"
        return
    needed_s = hook["seconds"] + notice_s + grace_s
    given_s = program.pod.spec.get("terminationGracePeriodSeconds", 30)
    if grace_s < longest_s:
        yield f"{program.pod.name}: drains {grace_s:g} s, a request may take {longest_s:g} s"
    if given_s <= needed_s:
        yield f"{program.pod.name}: is killed after {given_s} s, its drain takes {needed_s:g} s"


def _listening(program: Program) -> Iterator[str]:
    host, _, port = program.config.listen.rpartition(":")
    if host != "0.0.0.0":
        yield f"{program.pod.name}: listens on {host}, where nobody can reach it"
    if port_number(program.container, int(port)) is None:
        yield f"{program.pod.name}: listens on {port}, which is not among its ports"
