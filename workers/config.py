"""Configuration of the worker process: one environment variable per field, WORKER_ and its name.

The fields are the only declaration; `variables` lists them for the README. Built once, in
__main__; nothing else reads the environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from workers.errors import ConfigError

PREFIX = "WORKER_"
# The largest budget of the tiers that each pool serves.
POOL_BUDGETS = {"easy": 500, "thinking": 10_000}
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class Variable(NamedTuple):
    """One row of the configuration table. `default` None: the variable must be set."""

    name: str
    default: str | None
    meaning: str


def _setting(parse: Callable[[str], Any], default: str | None, meaning: str) -> dict[str, Any]:
    return {"parse": parse, "default": default, "meaning": meaning}


def _number(low: float, high: float = float("inf")) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high or value == float("inf"):
            raise ValueError(_range("a number", low, high))
        return value

    return parse


def _whole(low: int, high: float = float("inf")) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(_range("a whole number", low, high))
        return int(text)

    return parse


def _range(kind: str, low: float, high: float) -> str:
    return f"must be {kind}, {low} or more" + (f", at most {high}" if high < float("inf") else "")


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "auto" else parse(text)


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _switch(text: str) -> bool:
    return _one_of("on", "off")(text) == "on"


def _required(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _path(text: str) -> Path:
    return Path(_required(text))


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65_535
    if not text.startswith("unix:") and not (host and is_port):
        raise ValueError("must be host:port or unix:path")
    return text


def _redis_url(text: str) -> str:
    if not text.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must begin with one of {', '.join(_REDIS_SCHEMES)}")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How one worker process runs. Times in seconds."""

    model_dir: Path = field(
        metadata=_setting(
            _path, None, "Hugging Face directory: config.json, *.safetensors, tokenizer.json"
        )
    )
    model_name: str | None = field(
        metadata=_setting(
            _optional(_required), "auto", "name that requests use; auto: the directory's name"
        )
    )
    pool: str = field(metadata=_setting(_one_of(*POOL_BUDGETS), "thinking", "easy or thinking"))
    listen: str = field(
        metadata=_setting(_address, "127.0.0.1:50061", "host:port (port 0: any) or unix:path")
    )
    name: str | None = field(
        metadata=_setting(
            _optional(_required), "auto", "this worker in traces; auto: host name and port"
        )
    )
    redis_url: str = field(
        metadata=_setting(_redis_url, None, "the ledger: redis://, rediss:// or unix://")
    )
    spool_dir: Path = field(
        metadata=_setting(
            _path, None, "settlements that Redis did not take; a directory of its own per worker"
        )
    )
    ledger_timeout_s: float = field(
        metadata=_setting(
            _number(0.001, 60), "0.25", "wait for Redis before a settlement goes to the spool"
        )
    )
    device: str = field(metadata=_setting(_required, "cpu", "torch device: cpu, cuda or cuda:N"))
    dtype: str = field(
        metadata=_setting(
            _one_of("auto", "float32", "bfloat16", "float16"),
            "auto",
            "weights and KV cache; auto: float32 on CPU, bfloat16 on CUDA",
        )
    )
    threads: int = field(metadata=_setting(_whole(1, 1024), "1", "CPU threads of torch"))
    page_size: int = field(metadata=_setting(_whole(1, 4096), "16", "tokens per KV page"))
    kv_pages: int | None = field(
        metadata=_setting(
            _optional(_whole(2)),
            "auto",
            "KV pages; auto: what the sequences need and memory allows",
        )
    )
    memory_fraction: float = field(
        metadata=_setting(
            _number(0.01, 0.99), "0.5", "most of the free memory that automatic KV pages take"
        )
    )
    max_running: int = field(metadata=_setting(_whole(1), "64", "sequences in one batch"))
    max_waiting: int = field(
        metadata=_setting(_whole(1), "256", "requests that wait before others are refused")
    )
    max_model_len: int = field(
        metadata=_setting(
            _whole(1), "16384", "tokens of one sequence: prompt, thinking, forced and answer"
        )
    )
    prefill_chunk_tokens: int = field(
        metadata=_setting(_whole(1), "512", "prefill tokens per step")
    )
    thinking_chunk_tokens: int = field(
        metadata=_setting(
            _whole(1), "16", "thinking tokens per streamed chunk; answers stream token by token"
        )
    )
    max_thinking_budget: int | None = field(
        metadata=_setting(
            _optional(_whole(0)),
            "auto",
            "thinking tokens per request; auto: 500 easy, 10000 thinking",
        )
    )
    max_answer_tokens: int = field(
        metadata=_setting(_whole(1), "1024", "answer tokens per request")
    )
    max_prompt_bytes: int = field(metadata=_setting(_whole(1), "262144", "UTF-8 bytes of a prompt"))
    wrap_up_text: str = field(
        metadata=_setting(
            str, "", "fed before </think> when the budget cuts the thinking; never streamed"
        )
    )
    grace_s: float = field(
        metadata=_setting(_number(0), "30", "running requests may finish this long on SIGTERM")
    )
    notice_s: float = field(
        metadata=_setting(_number(0), "1", "on SIGTERM, time for routers to see NOT_SERVING first")
    )
    reflection: bool = field(metadata=_setting(_switch, "off", "gRPC reflection, on or off"))
    log_level: str = field(
        metadata=_setting(
            _one_of("debug", "info", "warning", "error"),
            "info",
            "least severe level that is logged",
        )
    )
    log_format: str = field(
        metadata=_setting(_one_of("text", "json"), "text", "text or json lines")
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises ConfigError that names every unknown, missing or bad WORKER_ variable at once."""
        known = {PREFIX + item.name.upper(): item for item in fields(cls)}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        problems = [f"{name} is not known" for name in unknown]
        values: dict[str, Any] = {}
        for name, item in known.items():
            try:
                values[item.name] = _parse(environ.get(name), item.metadata)
            except ValueError as error:
                problems.append(f"{name} {error}")
        if problems:
            raise ConfigError("; ".join(problems))
        return cls(**values)

    @property
    def model(self) -> str:
        """The name that requests use."""
        return self.model_name or self.model_dir.resolve().name

    @property
    def thinking_budget_cap(self) -> int:
        """Most thinking tokens of one request."""
        cap = self.max_thinking_budget
        return POOL_BUDGETS[self.pool] if cap is None else cap


def variables() -> tuple[Variable, ...]:
    """The configuration table, in the order of declaration."""
    return tuple(
        Variable(
            PREFIX + item.name.upper(), item.metadata["default"], str(item.metadata["meaning"])
        )
        for item in fields(WorkerConfig)
    )


def _parse(text: str | None, metadata: Mapping[str, Any]) -> Any:
    text = metadata["default"] if text is None else text
    if text is None:
        raise ValueError(f"must be set: {metadata['meaning']}")
    return metadata["parse"](text)
