"""Every setting of the router, read once from ROUTER_* environment variables.

OTEL_* belongs to OpenTelemetry, see telemetry.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ponder import environment
from ponder.environment import ConfigError, Variable, required, variable
from router.tiers import TIERS, TierTable, TierTables, tier_name

_PREFIX = "ROUTER_"


_TIER_NAMES = tuple(map(tier_name, TIERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """Where the parts are, and how the router decides. Times in seconds."""

    listen: str = variable(
        "127.0.0.1:8800",
        environment.address,
        meaning="Where the router listens: host:port or unix:path.",
    )
    easy_workers: tuple[str, ...] = required(
        environment.addresses,
        meaning="Workers of the easy pool, comma-separated, dns:///host:port for all that a name "
        "stands for; may be empty.",
    )
    thinking_workers: tuple[str, ...] = required(
        environment.addresses,
        meaning="Workers of the thinking pool, likewise; may be empty.",
    )
    resolve_interval_s: float = variable(
        5.0,
        environment.number(0.1, 3_600.0),
        unit="s",
        meaning="Pause between two look-ups of a dns:/// name of workers.",
    )
    models: tuple[str, ...] = variable(
        (),
        environment.names,
        meaning="Served models, comma-separated, the first is the default; "
        "unset: those that the workers name.",
    )
    classifier: str = variable(
        "",
        environment.text,
        meaning="ONNX file that predicts for every model until a version is promoted for it; "
        "unset: those that ship with Ponder, one general.",
    )
    redis_url: str = required(
        environment.redis_url,
        meaning="The ledger: redis://, rediss:// or unix://.",
        secret=True,
    )
    redis_wait_s: float = variable(
        5.0,
        environment.number(0.0, 3_600.0),
        unit="s",
        meaning="How long a starting router waits for Redis before it gives up.",
    )
    trace_life_s: int = variable(
        30 * 86_400,
        environment.integer(60, 10 * 365 * 86_400),
        unit="s",
        meaning="How long traces and feedback are kept, prompts included; the same for router and "
        "workers.",
    )
    max_traces: int = variable(
        100_000,
        environment.integer(1, 100_000_000),
        unit="traces",
        meaning="Most traces of a model that are kept; the same for router and workers.",
    )
    spool_dir: str = required(
        environment.text,
        meaning="Folder of its own for settlements that Redis did not take.",
    )
    tenants_file: str = variable(
        "",
        environment.text,
        meaning="TOML file of tenants, plans and hashed keys; unset, and without stored tenants: "
        "everybody is tenant local.",
    )
    stored_tenants: bool = variable(
        False,
        environment.switch,
        meaning="Know the tenants in Redis, which `ponder tenants` manages.",
    )
    operator_key_sha256: str = variable(
        "",
        environment.sha256,
        meaning="SHA-256 of the key that `ponder top` shows; unset: open to all without a tenants "
        "file, closed with one.",
    )
    max_tier: str = variable(
        "research",
        environment.one_of(*_TIER_NAMES),
        meaning="Largest tier of tenant local, when everybody is.",
    )
    default_tier: str = variable(
        "moderate",
        environment.one_of(*_TIER_NAMES),
        meaning="Tier of a request for which no prediction can be made.",
    )
    tier_budgets: TierTables = variable(
        TierTables(),
        TierTables.parse,
        unit="thinking tokens",
        meaning="Budgets of simple, moderate, complex and research, for every model; or entries "
        "such as r1=740,1200,6500,18000;50,500,2000,10000, the one without a model for the rest.",
    )
    coverage: float = variable(
        0.9,
        environment.number(0.0, 1.0, open_ends=True),
        meaning="Probability with which an automatic budget should suffice.",
    )
    cold_coverage: float = variable(
        0.4,
        environment.number(0.0, 1.0, open_ends=True),
        meaning="The same for models that only the general classifier predicts: unsure, it starts "
        "low, and what was thought is resumed with more.",
    )
    worth_tokens: int = variable(
        0,
        environment.integer(0, 1_000_000_000),
        unit="thinking tokens",
        meaning="What an answer is worth: no tier up when one more finished request is predicted "
        "to cost more. 0: no limit.",
    )
    exploration: float = variable(
        0.01,
        environment.number(0.0, 0.5),
        meaning="Share of automatic decisions that are promoted one tier at random.",
    )
    rollback_tolerance: float = variable(
        0.02,
        environment.number(0.0, 1.0),
        meaning="By how much the share of budgets too small may exceed what a new classifier "
        "predicted, or the champion's; beyond, it is rolled back.",
    )
    prior_weight: float = variable(
        50.0,
        environment.number(1.0, 1e6),
        unit="requests",
        meaning="How many observed requests the classifier's prediction weighs as much as.",
    )
    refresh_interval_s: float = variable(
        1.0,
        environment.number(0.01, 3_600.0),
        unit="s",
        meaning="Pause between two readings of the observed needs from Redis.",
    )
    max_prompt_bytes: int = variable(
        65_536,
        environment.integer(1, 8 << 20),
        unit="bytes",
        meaning="Largest prompt, or all messages together, in UTF-8.",
    )
    default_answer_tokens: int = variable(
        256,
        environment.integer(1, 1_000_000),
        unit="tokens",
        meaning="Longest answer of a request that does not say.",
    )
    max_answer_tokens: int = variable(
        1_024,
        environment.integer(1, 1_000_000),
        unit="tokens",
        meaning="Longest answer that a request may ask for.",
    )
    answer_reserve_tokens: int = variable(
        32,
        environment.integer(1, 1_000_000),
        unit="tokens",
        meaning="Answer tokens that a deadline must leave time for.",
    )
    answer_reserve_s: float = variable(
        0.05,
        environment.number(0.0, 60.0),
        unit="s",
        meaning="Time that a deadline must leave besides sampling: queue, prefill, network.",
    )
    max_duration_s: float = variable(
        600.0,
        environment.number(0.1, 86_400.0),
        unit="s",
        meaning="Longest run of a request; the deadline of those that bring none.",
    )
    max_queue_s: float = variable(
        30.0,
        environment.number(0.1, 3_600.0),
        unit="s",
        meaning="Longest queue of a pool, in time that it is predicted to take: from half of it on "
        "budgets shrink, beyond it requests are refused.",
    )
    max_line_s: float = variable(
        2.0,
        environment.number(0.01, 3_600.0),
        unit="s",
        meaning="Longest predicted wait of a request until it begins, behind others on probation: "
        "from half of it on budgets of the easy pool shrink, beyond it requests are refused.",
    )
    max_failovers: int = variable(
        2,
        environment.integer(0, 16),
        meaning="How many lost workers one request survives; then it is given up.",
    )
    store_prompts: bool = variable(
        False,
        environment.switch,
        meaning="Keep prompts in traces; off: only their hashed features.",
    )
    reply_cache_size: int = variable(
        1_024,
        environment.integer(0, 1_000_000),
        unit="replies",
        meaning="Finished replies kept for repeated request ids.",
    )
    reply_cache_ttl_s: float = variable(
        600.0,
        environment.number(0.0, 86_400.0),
        unit="s",
        meaning="How long finished replies are kept.",
    )
    drain_grace_s: float = variable(
        30.0,
        environment.number(0.0, 3_600.0),
        unit="s",
        meaning="How long running requests may go on after SIGTERM.",
    )
    tls_dir: str = variable(
        "",
        environment.text,
        meaning="Folder with tls.crt and tls.key, PEM: clients are served by TLS alone. New files "
        "are used without a restart.",
    )
    client_certificates: bool = variable(
        False,
        environment.switch,
        meaning="Take only clients with a certificate that ca.crt in the TLS folder signed; it "
        "names the tenant unless a key does.",
    )
    worker_tls_dir: str = variable(
        "",
        environment.text,
        meaning="Folder with ca.crt, which signs the workers, and tls.crt and tls.key to show "
        "them; unset: workers are called without TLS.",
    )
    worker_tls_name: str = variable(
        "",
        environment.text,
        meaning="Name in the workers' certificates; unset: the host of each address.",
    )
    reflection: bool = variable(
        False, environment.switch, meaning="Offer gRPC reflection, for grpcurl and the like."
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
        if self.client_certificates and not self.tls_dir:
            raise ConfigError("ROUTER_CLIENT_CERTIFICATES=on: needs ROUTER_TLS_DIR")
        if self.default_answer_tokens > self.max_answer_tokens:
            raise ConfigError(
                f"ROUTER_DEFAULT_ANSWER_TOKENS={self.default_answer_tokens}: "
                f"above ROUTER_MAX_ANSWER_TOKENS={self.max_answer_tokens}"
            )
        if not self.easy_workers and not self.thinking_workers:
            raise ConfigError("ROUTER_EASY_WORKERS, ROUTER_THINKING_WORKERS: both empty")
        if both := set(self.easy_workers) & set(self.thinking_workers):
            raise ConfigError(
                "ROUTER_EASY_WORKERS, ROUTER_THINKING_WORKERS: "
                f"{', '.join(sorted(both))} is in both; a worker belongs to one pool"
            )
        unknown = sorted({name for name, _ in self.tier_budgets.own} - set(self.models))
        if self.models and unknown:
            raise ConfigError(
                f"ROUTER_TIER_BUDGETS: {', '.join(unknown)} is not in ROUTER_MODELS; "
                "name it there or leave its entry out"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ConfigError that names every bad and every unknown variable."""
        return environment.read(cls, _PREFIX, environ)

    @classmethod
    def variables(cls) -> list[Variable]:
        """The configuration table."""
        return environment.document(cls, _PREFIX)

    def tiers_of(self, model: str) -> TierTable:
        return self.tier_budgets.of(model)
