"""The shipped model, `workers/reference`, which these tests need."""

import importlib.resources
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, Qwen3ForCausalLM

from workers.engine import EngineRequest, FinishReason, ThinkingStop
from workers.rollouts import Rollout
from workers.training.questions import QuestionSource
from workers.training.rollouts import RolloutRunner
from workers.training.vocabulary import END_THINK, EOS

MODEL_DIR = Path(str(importlib.resources.files("workers"))) / "reference"
NUM_PROMPTS, NUM_TOKENS = 100, 64
MAX_TOTAL_BYTES = 4_000_000


@pytest.fixture(scope="module")
def runner() -> RolloutRunner:
    return RolloutRunner(MODEL_DIR, batch=32, temperature=0.0, threads=1)


@pytest.fixture(scope="module")
def requests(runner) -> list[EngineRequest]:
    source = QuestionSource(Random(41), "test")
    prompts = [source.any_family().prompt for _ in range(NUM_PROMPTS)]
    return [runner.request(str(i), p, NUM_TOKENS, seed=i) for i, p in enumerate(prompts)]


def test_greedy_tokens_equal_those_of_transformers(runner, requests):
    close, eos = runner.tokenizer.convert_tokens_to_ids([END_THINK, EOS])
    model = Qwen3ForCausalLM.from_pretrained(MODEL_DIR).eval()
    expected = dict(_generate(model, requests, eos))

    for rollout in runner.run(requests):
        tokens = _sampled(rollout, close, eos)
        assert tokens == expected[rollout.request_id][: len(tokens)]
        assert len(tokens) == len(expected[rollout.request_id])


def _sampled(rollout: Rollout, close: int, eos: int) -> list[int]:
    """What the engine sampled, at most NUM_TOKENS: nothing of what it fed by force."""
    assert rollout.finished is not None
    if rollout.finished.stop is ThinkingStop.EXHAUSTED:
        return rollout.thinking_ids
    tokens = [*rollout.thinking_ids, close, *rollout.answer_ids]
    if rollout.finished.reason is FinishReason.STOP:
        tokens.append(eos)
    return tokens[:NUM_TOKENS]


def _generate(
    model: Any, requests: Sequence[EngineRequest], eos: int
) -> Iterator[tuple[str, list[int]]]:
    """Greedy tokens of transformers up to the end token, in batches without padding."""
    config = GenerationConfig(
        max_new_tokens=NUM_TOKENS, do_sample=False, eos_token_id=eos, pad_token_id=eos
    )
    for group in _by_length(requests):
        ids = torch.tensor([list(request.prompt_ids) for request in group])
        output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        for request, row in zip(group, output[:, ids.shape[1] :].tolist(), strict=True):
            end = row.index(eos) + 1 if eos in row else len(row)
            yield request.request_id, row[:end]


def _by_length(requests: Sequence[EngineRequest]) -> Iterator[list[EngineRequest]]:
    groups = defaultdict(list)
    for request in requests:
        groups[len(request.prompt_ids)].append(request)
    yield from groups.values()


def test_the_shipped_files_are_small():
    sizes = [path.stat().st_size for path in MODEL_DIR.iterdir()]

    assert sum(sizes) <= MAX_TOTAL_BYTES


def test_the_card_is_that_of_the_shipped_weights():
    recipe = json.loads((MODEL_DIR / "training.json").read_text())
    tokens = recipe["steps_done"] * recipe["rows"] * recipe["window"]

    assert f"| Tokens | {tokens:,}, of" in (MODEL_DIR / "README.md").read_text()
