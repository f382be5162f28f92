"""Runs many prompts through the engine in this process, as fast as it goes. No network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from workers.engine import (
    EngineConfig,
    EngineOutput,
    EngineRequest,
    Finished,
    LLMEngine,
    SpecialTokens,
)
from workers.sampling_defaults import SamplingDefaults
from workers.training.vocabulary import BOS, END_THINK, EOS, THINK

MAX_ANSWER_TOKENS = 48
"""Longer than any right answer; a rollout that reaches it is not well formed."""


@dataclass(slots=True)
class Rollout:
    """Everything one request produced."""

    request_id: str
    thinking_ids: list[int] = field(default_factory=list)
    answer_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: Finished | None = None

    def extend(self, output: EngineOutput) -> None:
        """Append what one step produced."""
        self.thinking_ids += output.thinking_ids
        self.answer_ids += output.answer_ids
        self.logprobs += output.logprobs
        self.finished = output.finished


class RolloutRunner:
    """An engine with its tokenizer, for offline use."""

    def __init__(
        self, model_dir: Path, *, batch: int, temperature: float | None, threads: int
    ) -> None:
        """Without a temperature the model's own default is used."""
        torch.set_num_threads(threads)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
        eos, think, end = self.tokenizer.convert_tokens_to_ids([EOS, THINK, END_THINK])
        tokens = SpecialTokens(eos_ids=frozenset({eos}), think_open_id=think, think_close_id=end)
        self._engine = LLMEngine(EngineConfig(model_dir=model_dir, max_running=batch), tokens)
        self._batch = batch
        if temperature is None:
            temperature = SamplingDefaults.load(model_dir).temperature
        self.temperature = temperature

    def request(
        self, request_id: str, prompt: str, budget: int, seed: int, prefix: Iterable[int] = ()
    ) -> EngineRequest:
        """Build the request for a prompt, resuming from thinking already done if there is any."""
        prompt_ids = self.tokenizer.encode(f"{BOS}{prompt}{THINK}", add_special_tokens=False)
        return EngineRequest(
            request_id=request_id,
            prompt_ids=prompt_ids,
            thinking_prefix_ids=tuple(prefix),
            thinking_budget=budget,
            max_answer_tokens=MAX_ANSWER_TOKENS,
            temperature=self.temperature,
            seed=seed,
        )

    def run(self, requests: Iterable[EngineRequest]) -> Iterator[Rollout]:
        """Yield each rollout when it is done, keeping the batch full until the end."""
        pending = iter(requests)
        running: dict[str, Rollout] = {}
        while True:
            for request in islice(pending, self._batch - len(running)):
                self._engine.add_request(request)
                running[request.request_id] = Rollout(request.request_id)
            if not running:
                return
            for output in self._engine.step():
                running[output.request_id].extend(output)
                if output.finished is not None:
                    yield running.pop(output.request_id)

    def text(self, ids: Iterable[int]) -> str:
        """Decode ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
