"""Runs many prompts through the engine in this process, as fast as it goes. No network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from workers.early_exit import EarlyExit, ExitRules
from workers.engine import EngineConfig, EngineRequest, LLMEngine, SpecialTokens
from workers.rollouts import Rollout, run_requests
from workers.sampling_defaults import SamplingDefaults
from workers.tokenizer import Tokenizer
from workers.training.vocabulary import BOS, END_THINK, EOS, THINK

MAX_ANSWER_TOKENS = 48
"""Longer than any right answer; a rollout that reaches it is not well formed."""


class RolloutRunner:
    """An engine with its tokenizer, for offline use."""

    def __init__(
        self,
        model_dir: Path,
        *,
        batch: int,
        temperature: float | None,
        threads: int,
        stops_early: bool = False,
    ) -> None:
        """Without a temperature the model's own default is used, early exit by its own rules."""
        torch.set_num_threads(threads)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
        eos, think, end = self.tokenizer.convert_tokens_to_ids([EOS, THINK, END_THINK])
        tokens = SpecialTokens(eos_ids=frozenset({eos}), think_open_id=think, think_close_id=end)
        rules = ExitRules.load(model_dir) if stops_early else None
        controller = None if rules is None else EarlyExit.of(rules, Tokenizer(model_dir))
        config = EngineConfig(model_dir=model_dir, max_running=batch)
        self._engine = LLMEngine(config, tokens, controller)
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
        return run_requests(self._engine, requests, self._batch)

    def text(self, ids: Iterable[int]) -> str:
        """Decode ids, special tokens included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
