"""Every setting of the OpenAI-compatible front door, read from OPENAI_DOOR_* variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ponder import environment
from ponder.environment import ConfigError, Variable, variable

_PREFIX = "OPENAI_DOOR_"


def _listen_address(value: str) -> str:
    if environment.address(value).startswith("unix:"):
        raise ValueError("must be host:port")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorConfig:
    """Where the router is, and what the door takes before it asks it. Times in seconds."""

    listen: str = variable(
        "127.0.0.1:8801",
        _listen_address,
        meaning="Where the front door listens: host:port.",
    )
    router: str = variable(
        "127.0.0.1:8800",
        environment.address,
        meaning="The router: host:port, whose addresses are used in turn, or unix:path.",
    )
    router_tls_dir: str = variable(
        "",
        environment.text,
        meaning="Folder with ca.crt, which signs the router, and tls.crt and tls.key where it asks "
        "for them; unset: it is called without TLS.",
    )
    models: tuple[str, ...] = variable(
        (),
        environment.names,
        meaning="Models that /v1/models names besides the router's default, as far as it serves "
        "them now.",
    )
    max_answer_tokens: int = variable(
        1_024,
        environment.integer(1, 1_000_000),
        unit="tokens",
        meaning="Longest answer asked for; at most ROUTER_MAX_ANSWER_TOKENS.",
    )
    answer_reserve_tokens: int = variable(
        256,
        environment.integer(1, 1_000_000),
        unit="tokens",
        meaning="Tokens of max_completion_tokens that thinking leaves to the answer; of a smaller "
        "limit half.",
    )
    timeout_s: float = variable(
        600.0,
        environment.number(0.1, 86_400.0),
        unit="s",
        meaning="Deadline of a request; a Ponder-Timeout-S header may shorten it.",
    )
    retry_after_s: int = variable(
        2,
        environment.integer(1, 3_600),
        unit="s",
        meaning="The Retry-After of a reply that says 429 or 503, unless the router asks for more.",
    )
    max_body_bytes: int = variable(
        1 << 20,
        environment.integer(1, 16 << 20),
        unit="bytes",
        meaning="Largest body of a request.",
    )
    max_headers: int = variable(
        64, environment.integer(8, 1_024), unit="headers", meaning="Most headers of a request."
    )
    max_connections: int = variable(
        1_024,
        environment.integer(1, 1_000_000),
        unit="connections",
        meaning="Most connections; a request on one beyond is answered with 503.",
    )
    drain_grace_s: int = variable(
        30,
        environment.integer(0, 3_600),
        unit="s",
        meaning="How long running requests may go on after SIGTERM.",
    )
    log_level: str = variable(
        "info",
        environment.one_of("debug", "info", "warning", "error"),
        meaning="Least severe log records written.",
    )
    log_format: str = variable(
        "text", environment.one_of("text", "json"), meaning="text for people, json for machines."
    )

    def __post_init__(self) -> None:
        if self.answer_reserve_tokens > self.max_answer_tokens:
            raise ConfigError(
                f"OPENAI_DOOR_ANSWER_RESERVE_TOKENS={self.answer_reserve_tokens}: "
                f"above OPENAI_DOOR_MAX_ANSWER_TOKENS={self.max_answer_tokens}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ConfigError that names every bad and every unknown variable."""
        return environment.read(cls, _PREFIX, environ)

    @classmethod
    def variables(cls) -> list[Variable]:
        """The configuration table."""
        return environment.document(cls, _PREFIX)
