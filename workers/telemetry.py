"""What the worker's log says of a segment. Never prompts, thinking or answers."""

from ponder.v1 import budget_pb2, worker_pb2


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
