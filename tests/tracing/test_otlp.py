"""Router and worker as processes send their spans and metrics by OTLP, as they are deployed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from ponder.cli.processes import free_ports
from ponder.trace_context import TRACEPARENT
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import Sampling
from tests.tracing.conftest import worker_env

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60
PROMPT = "Reach 24 using each of 3, 5, 6 and 8 once."
KEY = "a-secret-key"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVICES = {"ponder-router", "ponder-worker"}


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer
):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.traces: list[Any] = []
        self.metrics: list[Any] = []
        self._arrived = threading.Condition()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        is_trace = isinstance(request, trace_service_pb2.ExportTraceServiceRequest)
        with self._arrived:
            (self.traces if is_trace else self.metrics).append(request)
            self._arrived.notify_all()
        if is_trace:
            return trace_service_pb2.ExportTraceServiceResponse()
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(is_so, DEADLINE_S)

    def spans(self) -> dict[str, set[str]]:
        """Names of the spans of the request, by service."""
        found: dict[str, set[str]] = {}
        for group in (group for request in self.traces for group in request.resource_spans):
            for span in (span for scope in group.scope_spans for span in scope.spans):
                if span.trace_id.hex() == TRACE:
                    found.setdefault(service_of(group.resource), set()).add(span.name)
        return found

    def instruments(self) -> dict[str, set[str]]:
        """Names of the metrics, by service."""
        found: dict[str, set[str]] = {}
        for group in (group for request in self.metrics for group in request.resource_metrics):
            names = {metric.name for scope in group.scope_metrics for metric in scope.metrics}
            found.setdefault(service_of(group.resource), set()).update(names)
        return found

    def bytes(self) -> bytes:
        return b"".join(sent.SerializeToString() for sent in (*self.traces, *self.metrics))


def service_of(resource: Any) -> str:
    attributes = {each.key: each.value.string_value for each in resource.attributes}
    return str(attributes["service.name"])


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield collector, f"http://127.0.0.1:{port}"
        server.stop(None).wait()


@contextmanager
def running(module: str, environ: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", module], env=environ) as process:
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()


def otlp_env(endpoint: str, service: str) -> dict[str, str]:
    """As in deploy/, but for how often."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
        "OMP_NUM_THREADS": "1",
        "OTEL_METRICS_EXPORTER": "otlp_proto_grpc",
        "OTEL_TRACES_EXPORTER": "otlp_proto_grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_SERVICE_NAME": service,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def ask(address: str) -> pb.ReasonReply:
    request = pb.ReasonRequest(
        prompt=PROMPT,
        thinking_budget=30,
        max_answer_tokens=12,
        sampling=Sampling(temperature=0, seed=3),
        include_thinking=True,
    )
    metadata = ((TRACEPARENT, f"00-{TRACE}-{SPAN}-01"), ("authorization", f"Bearer {KEY}"))
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        wait_until_serving(health_pb2_grpc.HealthStub(channel))
        stub = reasoner_pb2_grpc.ReasonerStub(channel)
        return stub.Reason(request, timeout=DEADLINE_S, metadata=metadata)


def wait_until_serving(health: Any) -> None:
    watching = health.Watch(
        health_pb2.HealthCheckRequest(), timeout=DEADLINE_S, wait_for_ready=True
    )
    for reply in watching:
        if reply.status == health_pb2.HealthCheckResponse.SERVING:
            watching.cancel()
            return


@pytest.mark.e2e
def test_a_requests_spans_and_metrics_arrive_and_none_of_its_words(redis_url, tiny_dir, tmp_path):
    router, worker = (f"127.0.0.1:{port}" for port in free_ports(2))
    worker_variables = worker_env("thinking", tiny_dir, tmp_path, redis_url, 3_000)
    router_variables = {
        "ROUTER_LISTEN": router,
        "ROUTER_EASY_WORKERS": "",
        "ROUTER_THINKING_WORKERS": worker,
        "ROUTER_REDIS_URL": redis_url,
        "ROUTER_SPOOL_DIR": str(tmp_path / "spool"),
        "ROUTER_CLASSIFIER": str(tmp_path / "missing.onnx"),
    }
    with ExitStack() as exits:
        collector, endpoint = exits.enter_context(collecting())
        for module, variables in (
            ("workers", worker_variables | {"WORKER_LISTEN": worker}),
            ("router", router_variables),
        ):
            service = f"ponder-{module.removesuffix('s')}"
            exits.enter_context(running(module, otlp_env(endpoint, service) | variables))
        reply = ask(router)
        collector.wait_for(lambda: "ponder.worker.segments" in names(collector, "ponder-worker"))
        collector.wait_for(lambda: "work" in collector.spans().get("ponder-worker", ()))

    spans = collector.spans()
    assert set(spans) == set(collector.instruments()) == SERVICES
    assert spans["ponder-router"] == {"request", "classify", "decide", "segment"}
    assert spans["ponder-worker"] >= {"work", "queue", "prefill", "think", "answer", "settle"}
    assert {"ponder.router.workers", "gen_ai.server.request.duration"} <= names(
        collector, "ponder-router"
    )
    sent = collector.bytes()
    assert KEY.encode() not in sent
    for words in (PROMPT, reply.answer, reply.thinking, "Reach"):
        assert words
        assert words.encode() not in sent


def names(collector: Collector, service: str) -> set[str]:
    return collector.instruments().get(service, set())
