"""Whatever shape a supported checkpoint has, the engine computes what transformers computes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.engine.conftest import EOS, FAMILIES, special_tokens
from workers.engine import EngineConfig, LLMEngine
from workers.engine.runner import ModelRunner, Rectangle

NUM_TOKENS, NUM_DECODED = 48, 9
CHUNKS = (1, 3, 7, 16, NUM_TOKENS)
PAGE_SIZE = 4


@st.composite
def checkpoints(draw) -> tuple[str, dict[str, Any]]:
    """Family and configuration; the ratios of heads are odd as often as they are even."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    kv_heads, ratio = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    num_layers = draw(st.integers(1, 3))
    config: dict[str, Any] = {
        "vocab_size": draw(st.integers(50, 120)),
        "hidden_size": kv_heads * ratio * draw(st.sampled_from([4, 6, 8])),
        "intermediate_size": draw(st.integers(20, 90)),
        "num_hidden_layers": num_layers,
        "num_attention_heads": kv_heads * ratio,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 512,
        "initializer_range": draw(st.floats(0.1, 0.3)),
        "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-5])),
        "tie_word_embeddings": draw(st.booleans()),
        "rope_parameters": draw(ropes()),
        "eos_token_id": EOS,
    }
    if family != "qwen2":
        config["head_dim"] = draw(st.sampled_from([4, 10, 16, 32]))
        config["attention_bias"] = draw(st.booleans())
    if family != "llama" and draw(st.booleans()):
        config["use_sliding_window"], config["sliding_window"] = True, draw(st.integers(2, 20))
        config["max_window_layers"] = draw(st.integers(0, num_layers))
    return family, config


@st.composite
def ropes(draw) -> dict[str, Any]:
    theta = {"rope_theta": draw(st.sampled_from([100.0, 1e4, 1e6]))}
    if draw(st.booleans()):
        return {"rope_type": "default", **theta}
    return {
        "rope_type": "llama3",
        "factor": draw(st.sampled_from([1.0, 4.0, 32.0])),
        "low_freq_factor": 1.0,
        "high_freq_factor": draw(st.sampled_from([2.0, 4.0])),
        "original_max_position_embeddings": draw(st.sampled_from([16, 64, 8192])),
        **theta,
    }


def build(family: str, config: dict[str, Any], seed: int):
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(seed)
    model = model_class(config_class(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def open_engine(directory, dtype: str = "float32") -> LLMEngine:
    """With pages, in reverse, for one sequence in each of the first two slots."""
    engine = LLMEngine(
        EngineConfig(
            model_dir=directory, dtype=dtype, page_size=PAGE_SIZE, num_pages=99, max_model_len=99
        ),
        special_tokens(),
    )
    num_pages = -(-(NUM_TOKENS + NUM_DECODED) // PAGE_SIZE)
    for slot in (0, 1):
        pages = engine.pool.allocate(num_pages)
        engine.runner.slots.page_table[slot, :num_pages] = pages[::-1]
    return engine


@torch.inference_mode()
def logits_of(engine: LLMEngine, ids: np.ndarray, start: int, end: int) -> torch.Tensor:
    """Logits (rows, end - start, vocabulary)."""
    rows = np.arange(len(ids))
    rectangle = Rectangle(
        rows, ids[:, start:end], np.full(len(rows), start), np.full(len(rows), end - start)
    )
    assert isinstance(engine.runner, ModelRunner)
    return engine.runner.decoder.logits(engine.runner.forward(rectangle))


def chunked(engine: LLMEngine, ids: np.ndarray, chunk: int) -> torch.Tensor:
    """Prefill by chunks, then decode what is given, token by token."""
    starts = range(0, NUM_TOKENS, chunk)
    parts = [logits_of(engine, ids, s, min(s + chunk, NUM_TOKENS)) for s in starts]
    parts += [logits_of(engine, ids, s, s + 1) for s in range(NUM_TOKENS, ids.shape[1])]
    return torch.cat(parts, 1)


# The directory of an example is overwritten by the next one.
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(checkpoint=checkpoints(), seed=st.integers(0, 2**31))
def test_logits_equal_those_of_transformers(tmp_path, checkpoint, seed):
    family, config = checkpoint
    model = build(family, config, seed)
    model.save_pretrained(tmp_path)
    ids = np.random.default_rng(seed).integers(7, 50, (2, NUM_TOKENS + NUM_DECODED))
    with torch.inference_mode():
        expected = model(torch.from_numpy(ids)).logits
    engine = open_engine(tmp_path)

    for chunk in CHUNKS:
        found = chunked(engine, ids, chunk)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0, msg=f"chunk {chunk}")


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.06), ("float16", 0.01)])
@pytest.mark.parametrize("variant", ["llama-rope3-bias", "qwen2-ratio7", "qwen3"])
def test_half_types_are_as_near_as_those_of_transformers(models, variant, dtype, tolerance):
    directory, model = models(variant)
    ids = np.random.default_rng(1).integers(7, 97, (2, NUM_TOKENS + NUM_DECODED))
    with torch.inference_mode():
        exact = model(torch.from_numpy(ids)).logits
        half_model = type(model).from_pretrained(directory, dtype=getattr(torch, dtype))
        half = half_model(torch.from_numpy(ids)).logits.float()

    found = chunked(open_engine(directory, dtype), ids, 16)

    assert relative_error(half, exact) < tolerance  # else the tolerance says nothing
    assert relative_error(found, exact) < tolerance


def relative_error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())
