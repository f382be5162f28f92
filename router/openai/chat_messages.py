"""From OpenAI's messages to Ponder's. Only text, and only what the router can pass on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ponder.v1.budget_pb2 import ChatMessage
from router.openai.errors import UNSUPPORTED, ApiError, invalid

_ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}
)
_READ: Final = ("role", "content")


def parse_messages(value: object) -> list[ChatMessage]:
    """Raises ApiError that names the message."""
    if not isinstance(value, list) or not value:
        raise invalid("messages", " must be a list of at least one message")
    return [_message(f"messages[{index}]", message) for index, message in enumerate(value)]


def _message(where: str, value: object) -> ChatMessage:
    if not isinstance(value, dict):
        raise invalid(where, " must be an object with role and content")
    # A reply that is sent back as history brings fields of its own, all of them empty.
    for name, extra in value.items():
        if name not in _READ and extra not in (None, [], {}, ""):
            shown = f"{where}.{name[:64]}"
            raise ApiError(UNSUPPORTED, f"{shown} is not supported; leave it out", shown)
    role = value.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise invalid(f"{where}.role", f" is not supported; use one of {', '.join(_ROLES)}")
    return ChatMessage(role=_ROLES[role], content=_text(f"{where}.content", value.get("content")))


def _text(where: str, content: Any) -> str:
    """Text parts are joined by line ends."""
    if isinstance(content, list) and content:
        parts = (_part(f"{where}[{index}]", part) for index, part in enumerate(content))
        return "\n".join(parts)
    return checked_text(where, content)


def _part(where: str, part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise invalid(f"{where}.type", " is not supported; only parts of the type text are")
    return checked_text(f"{where}.text", part.get("text"))


def checked_text(where: str, value: object) -> str:
    """With line ends as the router takes them. Raises ApiError."""
    if not isinstance(value, str):
        raise invalid(where, " must be a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise invalid(where, " holds half of a surrogate pair; send whole characters") from error
    return value.replace("\r\n", "\n")
