"""What the worker tells of its work: a log line, metrics and spans per segment, its load.

Never prompts, thinking or answers. Names under gen_ai. are OpenTelemetry's semantic conventions for
generative AI (in development). Where it all goes is for ponder/exporters.py.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, NoOpMeterProvider, Observation
from opentelemetry.trace import NoOpTracerProvider, SpanKind

from ponder.tracing import Attributes, CallMetadata, Trace, Tracing
from ponder.v1 import budget_pb2, worker_pb2
from workers.engine import Finished

SEGMENTS: Final = "ponder.worker.segments"
TOKENS: Final = "ponder.worker.tokens"
GPU_TIME: Final = "ponder.worker.gpu_time"
QUEUE: Final = "ponder.worker.queue"
FIRST_TOKEN: Final = "ponder.worker.time_to_first_token"

WORK: Final = "work"
_NS: Final = 1_000_000_000
_MS_PER_S: Final = 1e3
_QUEUE_S: Final = (*(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),)

ReadLoad = Callable[[], worker_pb2.Load]
# Name, unit, and how it is read of the load.
_GAUGES: Final[tuple[tuple[str, str, Callable[[worker_pb2.Load], float]], ...]] = (
    ("ponder.worker.running", "{request}", lambda load: load.running),
    ("ponder.worker.waiting", "{request}", lambda load: load.waiting),
    ("ponder.worker.kv_pages.free", "{page}", lambda load: load.free_kv_pages),
    ("ponder.worker.kv_pages.total", "{page}", lambda load: load.total_kv_pages),
    ("ponder.worker.token_rate", "{token}/s", lambda load: load.tokens_per_second),
    ("ponder.worker.batch_size", "{sequence}", lambda load: load.batch_size),
)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[worker_pb2.Load], float]], ...]] = (
    ("ponder.worker.preemptions", "{request}", lambda load: load.preemptions),
    ("ponder.worker.prefix_tokens", "{token}", lambda load: load.prefix_tokens),
    ("ponder.worker.failed_requests", "{request}", lambda load: load.failed_requests),
)


class WorkerTelemetry:
    """The instruments of one worker."""

    def __init__(
        self,
        worker: str,
        pool: str,
        meters: MeterProvider | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing or Tracing(NoOpTracerProvider())
        self._worker = worker
        self._pool = pool
        self._meter = (meters or NoOpMeterProvider()).get_meter("ponder.worker")
        self._segments = self._meter.create_counter(SEGMENTS, description="Segments that ended")
        self._tokens = self._meter.create_counter(TOKENS, "{token}", "Tokens of ended segments")
        self._gpu = self._meter.create_counter(GPU_TIME, "s", "Busy time, of the device")
        self._queue = self._meter.create_histogram(
            QUEUE, "s", explicit_bucket_boundaries_advisory=_QUEUE_S
        )
        self._first_token = self._meter.create_histogram(
            FIRST_TOKEN, "s", explicit_bucket_boundaries_advisory=_QUEUE_S
        )

    def begin(self, request: worker_pb2.ThinkRequest, metadata: CallMetadata) -> Trace:
        """The span of one segment, within the trace that the call's metadata names."""
        trace = self._tracing.begin(WORK, SpanKind.SERVER, metadata)
        trace.note(_of_request, request, self._worker, self._pool)
        return trace

    def observe(self, read: ReadLoad) -> None:
        """Shows the worker's load whenever metrics are collected."""
        labels = {"pool": self._pool}
        for name, unit, of in _GAUGES:
            self._meter.create_observable_gauge(name, [_observing(read, of, labels)], unit)
        for name, unit, of in _COUNTERS:
            self._meter.create_observable_counter(name, [_observing(read, of, labels)], unit)

    def record_segment(self, request: worker_pb2.ThinkRequest, done: worker_pb2.ThinkDone) -> None:
        """One segment, as it ended: what this segment spent, not the whole request."""
        labels = {"pool": self._pool, "stop": _word(budget_pb2.ThinkingStop.Name(done.stop))}
        usage, prior = done.usage, request.settlement.prior_usage
        self._segments.add(1, labels)
        self._gpu.add(max(0.0, usage.gpu_seconds - prior.gpu_seconds), labels)
        thinking = usage.thinking_tokens - len(request.thinking_prefix_ids)
        spent = {
            "thinking": thinking,
            "answer": usage.answer_tokens - prior.answer_tokens,
            "forced": usage.forced_tokens - prior.forced_tokens,
            "probe": usage.probe_tokens - prior.probe_tokens,
        }
        for kind, tokens in spent.items():
            self._tokens.add(max(0, tokens), {**labels, "kind": kind})
        self._queue.record(done.queue_ms / _MS_PER_S, labels)
        self._first_token.record(done.first_token_ms / _MS_PER_S, labels)


class Phases:
    """The spans queue, prefill, think and answer of one segment, told when it has ended."""

    def __init__(self, trace: Trace, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` gives unix nanoseconds."""
        self._trace = trace
        self._clock = clock
        self._submitted_ns = 0
        self._answered_ns = 0

    def submitted(self) -> None:
        """The engine has it."""
        self._submitted_ns = self._clock()

    def answering(self) -> None:
        """Tokens of the answer came; only the first time counts."""
        self._answered_ns = self._answered_ns or self._clock()

    def finished(self, finished: Finished) -> None:
        """The engine is done with it. `queue_s` and `first_token_s` count from its arrival."""
        start_ns, end_ns = self._submitted_ns, self._clock()
        admitted_ns = min(end_ns, start_ns + int(finished.queue_s * _NS))
        first_ns = min(end_ns, start_ns + int(finished.first_token_s * _NS))
        thought_ns = max(first_ns, self._answered_ns) if self._answered_ns else end_ns
        self._trace.past("queue", start_ns, admitted_ns)
        self._trace.past("prefill", admitted_ns, first_ns)
        self._trace.past("think", first_ns, thought_ns)
        if self._answered_ns:
            self._trace.past("answer", thought_ns, end_ns)


def _of_request(request: worker_pb2.ThinkRequest, worker: str, pool: str) -> Attributes:
    return {
        "rpc.system": "grpc",
        "rpc.service": "ponder.v1.Worker",
        "rpc.method": "Think",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ponder",
        "gen_ai.request.model": request.model,
        "gen_ai.request.max_tokens": request.max_answer_tokens,
        "ponder.request_id": request.request_id,
        "ponder.segment": request.segment,
        "ponder.worker": worker,
        "ponder.pool": pool,
        "ponder.budget_tokens": request.thinking_budget,
        "ponder.prefix_tokens": len(request.thinking_prefix_ids),
    }


def of_done(done: worker_pb2.ThinkDone) -> Attributes:
    """How a segment ended; the usage is that of the request so far."""
    usage = done.usage
    return {
        "gen_ai.response.finish_reasons": [
            _word(budget_pb2.FinishReason.Name(done.finish_reason), "FINISH_REASON_")
        ],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.thinking_tokens + usage.answer_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens,
        "ponder.thinking.stop": _word(budget_pb2.ThinkingStop.Name(done.stop)),
        "ponder.forced_tokens": usage.forced_tokens,
        "ponder.probe_tokens": usage.probe_tokens,
        "ponder.gpu_seconds": usage.gpu_seconds,
        "ponder.peak_kv_bytes": usage.peak_kv_bytes,
    }


def segment_fields(
    request: worker_pb2.ThinkRequest, done: worker_pb2.ThinkDone
) -> dict[str, str | int | float | bool]:
    """What is logged of a segment when it ends."""
    return {
        "request_id": request.request_id,
        "segment": request.segment,
        "stop": budget_pb2.ThinkingStop.Name(done.stop),
        "finish_reason": budget_pb2.FinishReason.Name(done.finish_reason),
        "budget_tokens": request.thinking_budget,
        "prompt_tokens": done.usage.prompt_tokens,
        "thinking_tokens": done.usage.thinking_tokens,
        "answer_tokens": done.usage.answer_tokens,
        "gpu_s": round(done.usage.gpu_seconds, 6),
        "queue_ms": round(done.queue_ms, 3),
        "first_token_ms": round(done.first_token_ms, 3),
        "settled": done.settled,
    }


def _observing(
    read: ReadLoad, of: Callable[[worker_pb2.Load], float], labels: dict[str, str]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(of(read()), labels)]


def _word(name: str, prefix: str = "THINKING_STOP_") -> str:
    return name.removeprefix(prefix).lower()
