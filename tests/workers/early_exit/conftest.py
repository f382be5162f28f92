"""The reference model, asked with and without early exit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import workers
from workers.early_exit import EarlyExit, ExitRules
from workers.engine import (
    Controller,
    EngineConfig,
    EngineRequest,
    FinishReason,
    LLMEngine,
    ThinkingStop,
    Usage,
)
from workers.rollouts import Rollout, run_requests
from workers.tokenizer import Tokenizer
from workers.training.questions import QuestionSource

REFERENCE = Path(workers.__file__).parent / "reference"
LINES = ExitRules(separators=("\n",))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(REFERENCE)


@pytest.fixture(scope="session")
def requests(tokenizer) -> list[EngineRequest]:
    """Validation questions of every family that take some thinking."""
    source = QuestionSource(Random(5), "validation")
    prompts = [source.countdown(3).prompt for _ in range(7)]
    prompts += [source.system().prompt for _ in range(3)]
    return [request(tokenizer, i, prompt) for i, prompt in enumerate(prompts)]


def request(tokenizer: Tokenizer, index: int, prompt: str) -> EngineRequest:
    return EngineRequest(
        request_id=f"r{index}",
        prompt_ids=tokenizer.encode_prompt(prompt),
        thinking_budget=400,
        max_answer_tokens=48,
        temperature=0.4,
        seed=index,
    )


def changed(requests: Iterable[EngineRequest], **changes) -> list[EngineRequest]:
    return [replace(one, **changes) for one in requests]


def make_engine(tokenizer: Tokenizer, controller: Controller | None = None, **config) -> LLMEngine:
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"max_running": 32, "max_model_len": 2048, **config}
    tokens = tokenizer.special_tokens(separators=("\n",))
    return LLMEngine(EngineConfig(model_dir=REFERENCE, **settings), tokens, controller)


@dataclass(frozen=True)
class Done:
    """A request that has ended."""

    thinking_ids: list[int]
    answer_ids: list[int]
    logprobs: list[float]
    stop: ThinkingStop
    reason: FinishReason
    usage: Usage

    @classmethod
    def of(cls, rollout: Rollout) -> "Done":
        end = rollout.finished
        assert end is not None
        texts = rollout.thinking_ids, rollout.answer_ids, rollout.logprobs
        return cls(*texts, end.stop, end.reason, end.usage)


def run_all(engine: LLMEngine, requests: Iterable[EngineRequest]) -> dict[str, Done]:
    """To the end, with every page back."""
    done = {one.request_id: Done.of(one) for one in run_requests(engine, requests, 16)}
    assert engine.pool.num_free == engine.pool.capacity
    engine.scheduler.check()
    return done


def early_exit(tokenizer: Tokenizer, **rules: Any) -> EarlyExit:
    return EarlyExit.of(replace(LINES, **rules), tokenizer)
