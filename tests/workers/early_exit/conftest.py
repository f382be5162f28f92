"""The reference model, asked with and without early exit."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

import workers
from workers.early_exit import EarlyExit, ExitRules
from workers.engine import Controller, EngineConfig, EngineRequest, LLMEngine
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
    settings = {"max_running": 32, "max_model_len": 2048, **config}
    tokens = tokenizer.special_tokens(separators=("\n",))
    return LLMEngine(EngineConfig(model_dir=REFERENCE, **settings), tokens, controller)


def run_all(engine: LLMEngine, requests: Iterable[EngineRequest]) -> dict[str, Rollout]:
    """To the end, with every page back."""
    done = {rollout.request_id: rollout for rollout in run_requests(engine, requests, 16)}
    assert engine.pool.num_free == engine.pool.capacity
    engine.scheduler.check()
    return done


def early_exit(tokenizer: Tokenizer, rules: ExitRules = LINES, **changes) -> EarlyExit:
    return EarlyExit.of(replace(rules, **changes), tokenizer)
