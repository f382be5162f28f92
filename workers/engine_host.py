"""The worker's engine: its part of the configuration, its early exit, its process."""

import signal
from functools import partial

import torch

from ponder.environment import ConfigError
from ponder.logs import configure_logging
from workers.config import WorkerConfig
from workers.early_exit import EarlyExit, ExitRules
from workers.engine import (
    AsyncEngine,
    Controller,
    EngineConfig,
    LLMEngine,
    ProcessEngine,
    SpecialTokens,
    ThreadEngine,
)
from workers.tokenizer import Tokenizer


def open_engine(
    config: WorkerConfig, tokens: SpecialTokens, controller: Controller | None
) -> AsyncEngine:
    """Waits until the checkpoint is loaded; raises ConfigError, EngineError or ValueError."""
    make_engine = partial(LLMEngine, engine_config(config), tokens, controller)
    if has_own_process(config):
        prepare = partial(_prepare, config.threads, config.log_level, config.log_format)
        return ProcessEngine(make_engine, prepare, config.step_patience_s)
    torch.set_num_threads(config.threads)
    return ThreadEngine(make_engine(), config.step_patience_s)


def early_exit_of(
    config: WorkerConfig, tokenizer: Tokenizer, rules: ExitRules | None
) -> EarlyExit | None:
    """Early exit by the model's own rules; by the defaults only when that was asked for."""
    is_on = config.early_exit == "on" or (config.early_exit == "auto" and rules is not None)
    return EarlyExit.of(rules or ExitRules(), tokenizer) if is_on and tokenizer.can_think else None


def engine_config(config: WorkerConfig) -> EngineConfig:
    """The engine's part of the configuration."""
    return EngineConfig(
        model_dir=config.checkpoint_dir,
        device=config.device,
        dtype=config.dtype,
        page_size=config.page_size,
        num_pages=config.kv_pages,
        memory_fraction=config.memory_fraction,
        max_running=config.max_running,
        max_waiting=config.max_waiting,
        max_model_len=config.max_model_len,
        prefill_chunk_tokens=config.prefill_chunk_tokens,
        min_prefill_chunk_tokens=config.min_prefill_chunk_tokens,
        target_token_s=config.target_token_s,
        prefix_cache=config.prefix_cache,
        probation_tokens=config.probation_tokens,
        demoted_floor=config.demoted_floor,
        preemption_grace_s=config.preemption_grace_s,
        aging_tokens_per_s=config.aging_tokens_per_s,
        max_preemptions=config.max_preemptions,
        thinking_stream_tokens=config.thinking_chunk_tokens,
    )


def has_own_process(config: WorkerConfig) -> bool:
    """Where a GPU computes, the server's Python code would slow the steps down; on a CPU less so.

    Raises ConfigError when the device is not there.
    """
    try:
        is_cuda = torch.device(config.device).type == "cuda"
    except RuntimeError:
        raise ConfigError(f"WORKER_DEVICE {config.device!r} is not a device of torch") from None
    if is_cuda and not torch.cuda.is_available():
        raise ConfigError(f"WORKER_DEVICE is {config.device!r} but torch finds no CUDA device here")
    return is_cuda if config.engine_process == "auto" else config.engine_process == "process"


def _prepare(threads: int, log_level: str, log_format: str) -> None:
    """Before anything else in the engine's own process."""
    # A terminal or a supervisor may signal both; the worker drains and then ends its engine.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logging(log_level, log_format)
    torch.set_num_threads(threads)
