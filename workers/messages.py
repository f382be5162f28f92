"""Between the engine's messages and those of the wire. Pure functions."""

from ponder.settlement import total_usage
from ponder.v1 import budget_pb2, worker_pb2
from workers import engine

_STOPS = {
    engine.ThinkingStop.NONE: budget_pb2.THINKING_STOP_UNSPECIFIED,
    engine.ThinkingStop.FINISHED: budget_pb2.THINKING_STOP_FINISHED,
    engine.ThinkingStop.CONFIDENT: budget_pb2.THINKING_STOP_CONFIDENT,
    engine.ThinkingStop.CONVERGED: budget_pb2.THINKING_STOP_CONVERGED,
    engine.ThinkingStop.EXHAUSTED: budget_pb2.THINKING_STOP_EXHAUSTED,
    engine.ThinkingStop.GAVE_UP: budget_pb2.THINKING_STOP_GAVE_UP,
    engine.ThinkingStop.CANCELLED: budget_pb2.THINKING_STOP_CANCELLED,
}
_REASONS = {
    engine.FinishReason.STOP: budget_pb2.FINISH_REASON_STOP,
    engine.FinishReason.LENGTH: budget_pb2.FINISH_REASON_LENGTH,
    engine.FinishReason.EXHAUSTED: budget_pb2.FINISH_REASON_UNSPECIFIED,
    engine.FinishReason.CANCELLED: budget_pb2.FINISH_REASON_CANCELLED,
}


def done_of(request: worker_pb2.ThinkRequest, finished: engine.Finished) -> worker_pb2.ThinkDone:
    """How the segment ended, not settled yet."""
    stop = _STOPS[finished.stop]
    if finished.stop is engine.ThinkingStop.NONE and request.thinking_budget == 0:
        stop = budget_pb2.THINKING_STOP_EXHAUSTED
    return worker_pb2.ThinkDone(
        stop=stop,
        finish_reason=_REASONS[finished.reason],
        usage=total_usage(request, _segment_usage(request, finished.usage)),
        queue_ms=finished.queue_s * 1e3,
        first_token_ms=finished.first_token_s * 1e3,
    )


def done_before_start(request: worker_pb2.ThinkRequest) -> worker_pb2.ThinkDone:
    """How a segment ended that the engine never saw: only earlier segments spent anything."""
    return worker_pb2.ThinkDone(
        stop=budget_pb2.THINKING_STOP_CANCELLED,
        finish_reason=budget_pb2.FINISH_REASON_CANCELLED,
        usage=total_usage(request, budget_pb2.Usage()),
    )


def end_early(done: worker_pb2.ThinkDone, *, by_deadline: bool) -> None:
    """Mark the end of a request that its caller or its deadline cut.

    A thinking that had stopped before keeps its stop.
    """
    done.finish_reason = (
        budget_pb2.FINISH_REASON_DEADLINE if by_deadline else budget_pb2.FINISH_REASON_CANCELLED
    )
    if by_deadline and done.stop == budget_pb2.THINKING_STOP_CANCELLED:
        done.stop = budget_pb2.THINKING_STOP_EXHAUSTED


def _segment_usage(request: worker_pb2.ThinkRequest, usage: engine.Usage) -> budget_pb2.Usage:
    return budget_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        thinking_tokens=usage.thinking_tokens - len(request.thinking_prefix_ids),
        forced_tokens=usage.forced_tokens,
        probe_tokens=usage.probe_tokens,
        answer_tokens=usage.answer_tokens,
        gpu_seconds=usage.engine_seconds,
        peak_kv_bytes=usage.peak_kv_bytes,
    )
