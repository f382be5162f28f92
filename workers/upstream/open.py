"""Finds out what the upstream is, and puts the parts of its engine together."""

import logging
from typing import Final

from workers.config import WorkerConfig
from workers.engine import EngineError
from workers.sampling_defaults import SamplingDefaults
from workers.tokenizer import Tokenizer
from workers.upstream.capabilities import Capabilities, detect
from workers.upstream.early_exit import TrialPlan, max_requests, plan_trials
from workers.upstream.engine import UpstreamEngine
from workers.upstream.errors import UpstreamUnusable
from workers.upstream.health import ServerHealth
from workers.upstream.markers import Markers
from workers.upstream.prompts import UpstreamPrompts
from workers.upstream.sglang import Sglang
from workers.upstream.token_source import TokenSource
from workers.upstream.vllm import Vllm
from workers.upstream.vocabulary import (
    LlamaCppVocabulary,
    LocalVocabulary,
    VllmVocabulary,
    Vocabulary,
)
from workers.upstream.wire import Wire
from workers.validation import Limits

_log = logging.getLogger(__name__)

_MOST_IDS: Final = 1 << 31  # where the server does not tell: it refuses what it does not know


def open_upstream(config: WorkerConfig, url: str) -> tuple[UpstreamEngine, UpstreamPrompts, Limits]:
    """Asks the server; call it from a thread.

    Raises UpstreamUnusable, or CheckpointError or EarlyExitFileError for a folder that cannot be
    used.
    """
    wire = Wire.of(url, config.upstream_api_key_file, config.upstream_timeout_s)
    found = detect(wire, config.upstream_model)
    vocabulary = _vocabulary(config, wire, found)
    markers = _markers(config, vocabulary)
    plan, of_early_exit = plan_trials(config, wire, found, markers, vocabulary)
    for line in [*found.lines(), _of_prompts(config, markers), of_early_exit]:
        _log.info("upstream %s: %s", url, line)
    return (
        _engine(config, wire, found, markers, plan),
        _prompts(config, found, vocabulary, markers),
        _limits(config, found, markers),
    )


def _vocabulary(config: WorkerConfig, wire: Wire, found: Capabilities) -> Vocabulary:
    if config.model_dir is not None:
        return LocalVocabulary(Tokenizer(config.model_dir))
    match found.dialect:
        case Vllm():
            return VllmVocabulary(wire, found.model)
        case Sglang():
            raise UpstreamUnusable(
                "WORKER_MODEL_DIR: SGLang renders no chat template for others; give the folder "
                "with tokenizer.json and chat template of its model"
            )
        case _:
            return LlamaCppVocabulary(wire)


def _markers(config: WorkerConfig, vocabulary: Vocabulary) -> Markers:
    try:
        opens, closes, wraps_up = (
            vocabulary.encode_text(text) if text else ()
            for text in (
                config.upstream_think_open,
                config.upstream_think_close,
                config.wrap_up_text,
            )
        )
    except EngineError as error:
        raise UpstreamUnusable(f"WORKER_UPSTREAM_URL: no token ids of markers: {error}") from error
    return Markers(open_ids=opens, close_ids=closes, wrap_up_ids=wraps_up)


def _engine(
    config: WorkerConfig,
    wire: Wire,
    found: Capabilities,
    markers: Markers,
    plan: TrialPlan | None,
) -> UpstreamEngine:
    lengths = (config.max_model_len, found.max_model_len or config.max_model_len)
    return UpstreamEngine(
        wire,
        TokenSource(wire, found.dialect),
        markers,
        health=ServerHealth(wire),
        plan=plan,
        max_running=max_requests(config, found, plan),
        max_waiting=config.max_waiting,
        max_model_len=min(lengths),
        chunk_tokens=config.thinking_chunk_tokens,
    )


def _prompts(
    config: WorkerConfig, found: Capabilities, vocabulary: Vocabulary, markers: Markers
) -> UpstreamPrompts:
    model_dir = config.model_dir
    defaults = SamplingDefaults() if model_dir is None else SamplingDefaults.load(model_dir)
    texts = (
        (config.upstream_think_open, markers.open_ids),
        (config.upstream_think_close, markers.close_ids),
    )
    reserved = [text for text, ids in texts if len(ids) == 1]
    return UpstreamPrompts(vocabulary, markers, defaults, [*found.reserved_texts, *reserved])


def _limits(config: WorkerConfig, found: Capabilities, markers: Markers) -> Limits:
    return Limits(
        model=config.model_name or found.model,
        max_thinking_budget=config.thinking_budget_cap,
        max_answer_tokens=config.max_answer_tokens,
        max_prompt_bytes=config.max_prompt_bytes,
        vocab_size=found.vocab_size or _MOST_IDS,
        marker_ids=frozenset(markers.reserved_ids),
    )


def _of_prompts(config: WorkerConfig, markers: Markers) -> str:
    source = "the server" if config.model_dir is None else str(config.model_dir)
    who = "the model or the budget closes" if markers.close_id is not None else "the budget closes"
    return (
        f"prompts encoded by {source}; thinking from {config.upstream_think_open!r}, "
        f"{who} it with {config.upstream_think_close!r}"
    )
