"""The engine: a checkpoint, a scheduler and a runner behind add_request, abort and step.

Synchronous and single-threaded; async_engine.py gives it a thread.
"""

import logging
import os
import time
from collections.abc import Callable

import torch

from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.build_runner import build_runner
from workers.engine.config import EngineConfig
from workers.engine.errors import CheckpointError, InvalidRequest
from workers.engine.kv_cache import PagedKvCache
from workers.engine.limits import RequestLimits
from workers.engine.metrics import EngineLoad, EngineMetrics
from workers.engine.models.decoder import Decoder
from workers.engine.models.loader import load_spec, load_weights
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec
from workers.engine.request import EngineOutput, EngineRequest
from workers.engine.sampler import Sampler
from workers.engine.scheduler import Scheduler, StepResult
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable
from workers.engine.thinking import SpecialTokens

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class LLMEngine:
    """Thinks and answers for many requests at once."""

    def __init__(
        self, config: EngineConfig, tokens: SpecialTokens, clock: Clock = time.monotonic
    ) -> None:
        """Load the checkpoint and take the memory; raises CheckpointError."""
        self.config = config
        self.tokens = tokens
        self.spec = load_spec(config.model_dir)
        self.metrics = EngineMetrics()
        self._clock = clock
        self._outbox: list[EngineOutput] = []
        self._live: set[str] = set()
        _check_tokens(tokens, self.spec)
        if not tokens.can_think:
            logger.warning("%s has no thinking tokens: it answers at once", config.model_dir)
        self._limits = RequestLimits(tokens, self.spec.vocab_size, config.max_model_len)
        self._build()

    @property
    def has_work(self) -> bool:
        return bool(self._outbox) or self.scheduler.has_work

    def add_request(self, request: EngineRequest) -> None:
        """Queue a request.

        Raises:
            InvalidRequest: it can never run; the message names the field.
            QueueFull: too many wait.
        """
        if request.request_id in self._live:
            raise InvalidRequest("request_id is already running")
        self._limits.check(request)
        sequence = Sequence(request, self.tokens, self._clock())
        self.scheduler.add(sequence, self._limits.most_tokens(request))
        self._live.add(request.request_id)

    def abort(self, request_id: str) -> None:
        """End a request and free its pages now; an unknown id is not an error."""
        output = self.scheduler.abort(request_id, self._clock())
        if output is not None:
            self._outbox.append(output)

    def close_thinking(self, request_id: str) -> None:
        """Cut the thinking of a request after one more token; the answer follows."""
        self.scheduler.close_thinking(request_id)

    def step(self) -> list[EngineOutput]:
        """Run one step; returns what the requests gained, aborted ones included."""
        started_s = self._clock()
        plan = self.scheduler.plan(started_s)
        outputs, self._outbox = self._outbox, []
        if not plan.is_empty:
            if self.runner.runs_ahead:
                self.scheduler.reserve_next(plan)
            tokens, logprobs = self.runner.run(plan)
            ended_s = self._clock()
            result = StepResult(tokens, logprobs, ended_s, ended_s - started_s)
            outputs += self.scheduler.commit(plan, result)
            self.metrics.record_step(plan, result.duration_s)
        self.metrics.record_outputs(outputs)
        self._live.difference_update(o.request_id for o in outputs if o.finished is not None)
        return outputs

    def load(self) -> EngineLoad:
        """A snapshot of load and speed; safe from any thread."""
        return EngineLoad(
            running=len(self.scheduler.running),
            waiting=len(self.scheduler.waiting),
            pages_free=self.pool.num_free,
            pages_total=self.pool.capacity,
            preemptions=self.scheduler.num_preemptions,
            tokens_per_s=self.metrics.tokens_per_s,
            time_per_output_token_s=self.metrics.time_per_output_token_s,
            time_to_first_token_s=self.metrics.time_to_first_token_s,
            sampled_tokens=self.metrics.sampled_tokens,
            busy_s=self.metrics.busy_s,
            finished=self.metrics.finished,
        )

    def _build(self) -> None:
        config, spec = self.config, self.spec
        device = torch.device(config.device)
        dtype = resolve_dtype(config.dtype, device)
        weights = load_weights(config.model_dir, spec, dtype, device)
        geometry = KvGeometry(
            page_size=config.page_size,
            sliding_window=spec.sliding_window,
            bytes_per_page=PagedKvCache.bytes_per_page(spec, config.page_size, dtype),
            max_chunk_tokens=config.prefill_chunk_tokens,
        )
        num_pages = config.num_pages or choose_num_pages(config, geometry, device)
        cache = PagedKvCache(spec, num_pages, config.page_size, dtype, device)
        rotary = RotaryTable(spec, config.max_model_len, dtype, device)
        slots = SlotTable(config.max_running, geometry.num_pages(config.max_model_len))
        self.pool = PagePool(num_pages)
        self.scheduler = Scheduler(config, geometry, self.pool, slots)
        decoder = Decoder(spec, weights, rotary, cache)
        self.runner = build_runner(config, decoder, cache, Sampler(self.tokens, device), slots)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on CPU and bfloat16 elsewhere."""
    if name == "auto":
        name = "float32" if device.type == "cpu" else "bfloat16"
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def choose_num_pages(config: EngineConfig, geometry: KvGeometry, device: torch.device) -> int:
    """What full batches of full length need, at most `memory_fraction` of the free memory."""
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
    else:
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    affordable = int(free_bytes * config.memory_fraction) // geometry.bytes_per_page
    wanted = config.max_running * geometry.resident_pages(config.max_model_len)
    with_watermark = int(wanted / (1 - config.watermark)) + 2
    return max(2, min(affordable, with_watermark))


def _check_tokens(tokens: SpecialTokens, spec: ModelSpec) -> None:
    ids = [*tokens.eos_ids, *tokens.wrap_up_ids, tokens.think_open_id, tokens.think_close_id]
    outside = [token for token in ids if token is not None and not 0 <= token < spec.vocab_size]
    if outside:
        raise CheckpointError(
            f"special token {outside[0]} is outside the vocabulary of {spec.vocab_size}: "
            "tokenizer and config.json do not belong together"
        )
    if not tokens.eos_ids:
        raise CheckpointError("no end-of-sequence token: set eos_token_id in config.json")
