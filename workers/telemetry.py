"""How the worker logs: one line per event, as text or JSON. Never prompts, thinking or answers."""

import json
import logging
from typing import Any

from ponder.v1 import budget_pb2, worker_pb2


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return " ".join((super().format(record), *(f"{k}={v!r}" for k, v in fields.items())))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time_s": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level: str, log_format: str) -> None:
    """Log to standard error; `level` and `log_format` as in WorkerConfig."""
    handler = logging.StreamHandler()
    is_json = log_format == "json"
    text = _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if is_json else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


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
