"""Configuration of the worker process: one environment variable per field, WORKER_ and its name.

Built once, in __main__; nothing else reads the environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from ponder import environment
from ponder.environment import ConfigError, Variable, required, variable

_PREFIX = "WORKER_"
POOL_BUDGETS: Final = MappingProxyType({"easy": 500, "thinking": 10_000})
"""The largest budget of the tiers that each pool serves."""
_NEEDS_MODEL = "WORKER_MODEL_DIR must be set: a Hugging Face folder; or WORKER_UPSTREAM_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How one worker process runs. Times in seconds."""

    model_dir: Path | None = variable(
        None,
        environment.optional(environment.path),
        meaning="Hugging Face folder: config.json, *.safetensors, tokenizer.json. In front of an "
        "upstream only its tokenizer and settings are read; auto: the upstream's own are used.",
    )
    model_name: str | None = variable(
        None,
        environment.optional(environment.text),
        meaning="Name that requests use; auto: the folder's name, or the upstream's.",
    )
    upstream_url: str | None = variable(
        None,
        environment.optional(environment.http_url),
        meaning="Server that runs the model instead of the engine here: vLLM, SGLang or "
        "llama.cpp, without /v1; auto: none, and the model's folder must be set.",
    )
    upstream_model: str | None = variable(
        None,
        environment.optional(environment.text),
        meaning="Model of the upstream; auto: the only one that it serves.",
    )
    upstream_api_key_file: Path | None = variable(
        None,
        environment.optional(environment.path),
        meaning="File with the key that the upstream asks for; auto: none.",
    )
    upstream_timeout_s: float = variable(
        60.0,
        environment.number(0.001, 3_600.0),
        unit="s",
        meaning="Longest silence of the upstream before a request is sent again.",
    )
    upstream_think_open: str = variable(
        "<think>",
        str,
        meaning="What opens the thinking of the upstream's model; may be empty.",
    )
    upstream_think_close: str = variable(
        "</think>",
        environment.any_text,
        meaning="What closes it. If that is one token the model may close its thinking itself.",
    )
    pool: str = variable(
        "thinking",
        environment.one_of(*POOL_BUDGETS),
        meaning="The pool it belongs to: easy or thinking.",
    )
    listen: str = variable(
        "127.0.0.1:50061",
        environment.address,
        meaning="Where the worker listens: host:port (port 0: any) or unix:path.",
    )
    name: str | None = variable(
        None,
        environment.optional(environment.text),
        meaning="This worker in traces; auto: host name and port.",
    )
    redis_url: str = required(
        environment.redis_url,
        meaning="The ledger: redis://, rediss:// or unix://.",
        secret=True,
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
    spool_dir: Path = required(
        environment.path,
        meaning="Folder of its own for settlements that Redis did not take.",
    )
    ledger_timeout_s: float = variable(
        0.25,
        environment.number(0.001, 60.0),
        unit="s",
        meaning="How long Redis is waited for before a settlement goes to the spool.",
    )
    device: str = variable("cpu", environment.text, meaning="Device of torch: cpu, cuda or cuda:N.")
    dtype: str = variable(
        "auto",
        environment.one_of("auto", "float32", "bfloat16", "float16"),
        meaning="Type of weights and KV cache: float32, bfloat16 or float16; "
        "auto: float32 on CPU, bfloat16 on CUDA.",
    )
    threads: int = variable(
        1, environment.integer(1, 1_024), meaning="How many CPU threads torch uses."
    )
    engine_process: str = variable(
        "auto",
        environment.one_of("auto", "process", "thread"),
        meaning="Where the engine runs: process (one of its own) or thread (beside the server); "
        "auto: process on CUDA, thread on CPU.",
    )
    page_size: int = variable(
        16, environment.integer(1, 4_096), unit="tokens", meaning="Size of a KV page."
    )
    kv_pages: int | None = variable(
        None,
        environment.optional(environment.integer(2)),
        unit="pages",
        meaning="Size of the KV cache; auto: what the sequences need and memory allows.",
    )
    memory_fraction: float = variable(
        0.5,
        environment.number(0.01, 0.99),
        meaning="Largest share of the free memory that an automatic KV cache takes.",
    )
    max_running: int = variable(
        64, environment.integer(1), unit="sequences", meaning="Largest batch."
    )
    max_waiting: int = variable(
        256,
        environment.integer(1),
        unit="requests",
        meaning="How many may wait before others are refused.",
    )
    max_model_len: int = variable(
        16_384,
        environment.integer(1),
        unit="tokens",
        meaning="Longest sequence: prompt, thinking, forced tokens and answer.",
    )
    prefill_chunk_tokens: int = variable(
        512, environment.integer(1), unit="tokens", meaning="Largest prefill of one step."
    )
    min_prefill_chunk_tokens: int = variable(
        64,
        environment.integer(1),
        unit="tokens",
        meaning="Smallest such prefill, however long the step takes.",
    )
    target_token_s: float = variable(
        0.05,
        environment.number(0.000_1, 60.0),
        unit="s",
        meaning="How long a step should take while others wait for their next token; prefill "
        "is cut to that.",
    )
    prefix_cache: bool = variable(
        True, environment.switch, meaning="Compute equal beginnings of prompts once."
    )
    probation_tokens: int = variable(
        600,
        environment.integer(0),
        unit="tokens",
        meaning="Thinking and answer for which a request goes before longer ones, in five levels.",
    )
    demoted_floor: float = variable(
        0.125,
        environment.number(0.0, 1.0),
        meaning="Share of the batch that requests past their probation keep.",
    )
    preemption_grace_s: float = variable(
        0.0,
        environment.number(0.0),
        unit="s",
        meaning="How long a request on probation waits before a longer one gives way.",
    )
    aging_tokens_per_s: float = variable(
        100.0,
        environment.number(0.001),
        unit="tokens/s",
        meaning="How much shorter a waiting request past its probation counts each second.",
    )
    max_preemptions: int = variable(
        2,
        environment.integer(0),
        meaning="How often a request gives way; more often only when all others did, too.",
    )
    step_patience_s: float = variable(
        2.0,
        environment.number(0.1),
        unit="s",
        meaning="No step ends for so long, and for four times a long step: not well, routers pass "
        "it over. Raise it where a first prefill takes longer; 2 keeps within 3 s.",
    )
    thinking_chunk_tokens: int = variable(
        16,
        environment.integer(1),
        unit="tokens",
        meaning="Thinking per streamed chunk; answers stream token by token.",
    )
    max_thinking_budget: int | None = variable(
        None,
        environment.optional(environment.integer(0)),
        unit="tokens",
        meaning="Largest thinking budget of a request; auto: 500 in pool easy, 10000 in thinking.",
    )
    max_answer_tokens: int = variable(
        1_024,
        environment.integer(1),
        unit="tokens",
        meaning="Longest answer that a request may ask for.",
    )
    max_prompt_bytes: int = variable(
        262_144, environment.integer(1), unit="bytes", meaning="Largest prompt, in UTF-8."
    )
    wrap_up_text: str = variable(
        "",
        str,
        meaning="Fed before </think> when the budget cuts the thinking; never streamed.",
    )
    early_exit: str = variable(
        "auto",
        environment.one_of("auto", "on", "off"),
        meaning="Stop thinking when the answer is sure; auto: if the model has an early_exit.json, "
        "and the upstream, where there is one, can.",
    )
    grace_s: float = variable(
        30.0,
        environment.number(0.0),
        unit="s",
        meaning="How long running requests may go on after SIGTERM.",
    )
    notice_s: float = variable(
        1.0,
        environment.number(0.0),
        unit="s",
        meaning="How long after SIGTERM requests are still taken, for routers to see NOT_SERVING.",
    )
    tls_dir: Path | None = variable(
        None,
        environment.optional(environment.path),
        meaning="Folder with tls.crt, tls.key, ca.crt: only routers with a certificate that "
        "ca.crt signed are served; it should sign no others. auto: without TLS.",
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

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ConfigError that names every bad and every unknown variable."""
        return environment.read(cls, _PREFIX, environ, _missing(environ))

    @classmethod
    def variables(cls) -> list[Variable]:
        """The configuration table."""
        return environment.document(cls, _PREFIX)

    @property
    def model(self) -> str:
        """The name that requests use."""
        return self.model_name or self.checkpoint_dir.resolve().name

    @property
    def checkpoint_dir(self) -> Path:
        """The folder with the model; there is one unless an upstream has it."""
        if self.model_dir is None:
            raise ConfigError(_NEEDS_MODEL)
        return self.model_dir

    @property
    def thinking_budget_cap(self) -> int:
        """Most thinking tokens of one request."""
        cap = self.max_thinking_budget
        return POOL_BUDGETS[self.pool] if cap is None else cap


def _missing(environ: Mapping[str, str]) -> list[str]:
    """A model is here or upstream."""
    has_model = {"WORKER_MODEL_DIR", "WORKER_UPSTREAM_URL"} & environ.keys()
    return [] if has_model else [_NEEDS_MODEL]
