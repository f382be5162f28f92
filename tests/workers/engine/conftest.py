"""Tiny random Hugging Face models, and engines on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from workers.engine import EngineConfig, EngineRequest, LLMEngine, SpecialTokens

EOS, OPEN, CLOSE, WRAP = 2, 3, 4, (5, 6)
SHAPE = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": EOS,
}
SLIDING: dict[str, object] = {
    "use_sliding_window": True,
    "sliding_window": 8,
    "max_window_layers": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {}),
    "llama-rope3-bias": ("llama", {"rope_parameters": LLAMA3_ROPE, "attention_bias": True}),
    "qwen2-ratio7": (
        "qwen2",
        {"hidden_size": 112, "num_attention_heads": 14, "tie_word_embeddings": True},
    ),
    "qwen2-half-sliding": ("qwen2", SLIDING | {"max_window_layers": 2}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3-sliding": ("qwen3", SLIDING | {"head_dim": 16, "tie_word_embeddings": True}),
}


def build_model(variant: str):
    """A random model whose logits are far apart and whose norms and biases are not trivial."""
    family, overrides = VARIANTS[variant]
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(7)
    model = model_class(config_class(**(SHAPE | overrides))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Callable[[str], tuple[Path, PreTrainedModel]]:
    """Variant name to (directory, transformers model); each is built once."""
    built: dict[str, tuple[Path, PreTrainedModel]] = {}

    def get(variant: str) -> tuple[Path, PreTrainedModel]:
        if variant not in built:
            directory = tmp_path_factory.mktemp(variant)
            model = build_model(variant)
            model.save_pretrained(directory)
            built[variant] = (directory, model)
        return built[variant]

    return get


@pytest.fixture
def make_engine(models) -> Callable[..., LLMEngine]:
    """An engine on a variant; keywords override the configuration."""

    def make(variant: str = "qwen3-sliding", **overrides) -> LLMEngine:
        settings = {"page_size": 4, "num_pages": 400, "max_running": 8, "max_model_len": 400}
        directory, _ = models(variant)
        config = EngineConfig(model_dir=directory, **(settings | overrides))
        return LLMEngine(config, special_tokens())

    return make


@pytest.fixture
def make_request() -> Callable[..., EngineRequest]:
    """A request with a prompt of its own; keywords override."""

    def make(index: int = 0, **overrides) -> EngineRequest:
        prompt = [1, *((11 + 7 * index + 5 * i) % 80 + 10 for i in range(5 + index)), OPEN]
        settings: dict[str, Any] = {
            "request_id": f"r{index}",
            "prompt_ids": prompt,
            "thinking_budget": 24,
            "max_answer_tokens": 8,
            "seed": index,
        }
        return EngineRequest(**(settings | overrides))

    return make


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """Run requests to their end: request id to (thinking ids, answer ids, logprobs, Finished)."""
    return run_all


def special_tokens() -> SpecialTokens:
    return SpecialTokens(
        eos_ids=frozenset({EOS}), think_open_id=OPEN, think_close_id=CLOSE, wrap_up_ids=WRAP
    )


def run_all(engine: LLMEngine, *requests: EngineRequest) -> dict[str, Any]:
    for request in requests:
        engine.add_request(request)
    thinking: dict[str, list[int]] = {request.request_id: [] for request in requests}
    answers: dict[str, list[int]] = {request.request_id: [] for request in requests}
    logprobs: dict[str, list[float]] = {request.request_id: [] for request in requests}
    finished = {}
    while engine.has_work:
        for output in engine.step():
            thinking[output.request_id].extend(output.thinking_ids)
            answers[output.request_id].extend(output.answer_ids)
            logprobs[output.request_id].extend(output.logprobs)
            if output.finished is not None:
                finished[output.request_id] = output.finished
        engine.scheduler.check()
    assert engine.pool.num_free == engine.pool.capacity
    return {
        name: (thinking[name], answers[name], logprobs[name], finished[name]) for name in thinking
    }
