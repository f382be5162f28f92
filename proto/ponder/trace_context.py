"""The headers of W3C Trace Context, and the trace that this task works for. Needs no OpenTelemetry.

Source: W3C Trace Context, level 1, sections 3.2 and 3.3.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

Metadata = tuple[tuple[str, str], ...]
CallMetadata = Iterable[tuple[str, str | bytes]] | None

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?"
)
_STATE: Final = re.compile(r"[\x20-\x7e]+")
# As much as has to be passed on. More would come out of the metadata that a call may have.
_MOST_CHARACTERS: Final = 512
# Of a task and those that it begins; only log lines read it.
_trace_id: ContextVar[str] = ContextVar("ponder_trace_id", default="")


def passed_on(headers: CallMetadata) -> Metadata:
    """What of a caller's headers goes on to the next process; a tracestate never alone.

    Keys are lower-case. A header that is not W3C's counts as none.
    """
    texts = [(key, value) for key, value in headers or () if isinstance(value, str)]
    parents = [value for key, value in texts if key == TRACEPARENT]
    if len(parents) != 1 or not _is_valid(_PARENT, parents[0]):
        return ()
    state = ",".join(value for key, value in texts if key == TRACESTATE)
    states = ((TRACESTATE, state),) if _is_valid(_STATE, state) else ()
    return ((TRACEPARENT, parents[0]), *states)


def work_for(headers: Metadata) -> None:
    """From here on the log lines of this task, and of those that it begins, name the trace."""
    found = _PARENT.fullmatch(dict(headers).get(TRACEPARENT, ""))
    _trace_id.set(found[1] if found else "")


def trace_id() -> str:
    """32 hexadecimal digits; empty when this task works for no trace."""
    return _trace_id.get()


def _is_valid(pattern: re.Pattern[str], value: str) -> bool:
    return len(value) <= _MOST_CHARACTERS and pattern.fullmatch(value) is not None
