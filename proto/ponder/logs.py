"""How the processes log: one line per event on standard error, as text or JSON. Never a prompt.

A record may carry named values: `log.info("...", extra={"fields": {...}})`. One that is written for
a trace names it.
"""

import json
import logging
import time
from typing import Any

from ponder.trace_context import trace_id


def configure_logging(level: str, log_format: str) -> None:
    """`level` is debug to error, `log_format` text or json."""
    handler = logging.StreamHandler()
    text = _TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It has a line for every request that it sends, health checks included.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _trace() | getattr(record, "fields", {})
        return " ".join((super().format(record), *(f"{k}={v!r}" for k, v in fields.items())))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_trace(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _trace() -> dict[str, str]:
    found = trace_id()
    return {"trace_id": found} if found else {}
