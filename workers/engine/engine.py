"""The engine: a checkpoint, a scheduler and a runner behind add_request, abort and step.

Synchronous and single-threaded; thread_engine.py and process_engine.py run it.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Protocol

import torch

from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.branch import Branch
from workers.engine.build_runner import build_runner
from workers.engine.config import EngineConfig
from workers.engine.errors import CheckpointError, InvalidRequest, OutOfMemory
from workers.engine.faults import is_out_of_memory, memory_needed, said_plainly
from workers.engine.kv_cache import PagedKvCache
from workers.engine.limits import RequestLimits
from workers.engine.metrics import EngineLoad, EngineMetrics
from workers.engine.models.decoder import Decoder
from workers.engine.models.loader import load_spec, load_weights
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec
from workers.engine.plan import StepPlan, StepResult
from workers.engine.request import EngineOutput, EngineRequest, ThinkingStop
from workers.engine.sampler import Sampler
from workers.engine.scheduler import Scheduler
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable
from workers.engine.thinking import SpecialTokens

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


class Controller(Protocol):
    """Looks at the engine between steps, and may fork, promote, drop and close."""

    def after_step(self, engine: "LLMEngine") -> None: ...


class LLMEngine:
    """Thinks and answers for many requests at once."""

    def __init__(
        self,
        config: EngineConfig,
        tokens: SpecialTokens,
        controller: Controller | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Load the checkpoint and take the memory; raises CheckpointError."""
        self.config = config
        self.tokens = tokens
        self.spec = load_spec(config.model_dir)
        self.metrics = EngineMetrics()
        self._controller = controller
        self._clock = clock
        self._outbox: list[EngineOutput] = []
        self._live: set[str] = set()
        self._num_faults = 0  # steps in a row
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
        sequence = Sequence.of(request, self.tokens, self._clock())
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

    def close(self, sequence: Sequence, stop: ThinkingStop) -> None:
        """End the thinking of a running request after its newest token; the answer follows."""
        self.scheduler.close(sequence, stop)

    def fork(
        self,
        request_id: str,
        suffix_ids: tuple[int, ...],
        max_tokens: int,
        *,
        before_newest: bool = False,
    ) -> Branch | None:
        """Fork a request that thinks: its branch is fed `suffix_ids` and samples `max_tokens`.

        Pages are shared but for the partial last one. The request goes on beside its branch and
        its tokens stay what they were. None when there is no room for a branch.

        The newest token is sampled but not computed. `before_newest` leaves it out: the branch
        then has its suffix alone to compute, and if that is one token it needs no prefill.

        Raises:
            InvalidRequest: no such request, or ids outside the vocabulary.
            ForkRefused: it waits, is in prefill, or does not think any more.
        """
        parent = self.scheduler.find(request_id)
        if parent is None:
            raise InvalidRequest(f"request_id {request_id!r} is not running")
        self._limits.check_ids("suffix_ids", suffix_ids)
        forked = self.scheduler.branches.fork(
            parent, suffix_ids, max_tokens, before_newest=before_newest
        )
        if forked is None:
            return None
        branch, copy = forked
        if copy is not None:
            self.runner.copy_page(*copy)
        return branch

    def promote(self, branch: Branch, stop: ThinkingStop = ThinkingStop.CONFIDENT) -> None:
        """Make a branch its parent's request: what it sampled is the answer so far.

        Raises BranchEnded when it was dropped; its `end` says so.
        """
        self._outbox.append(self.scheduler.promote(branch, stop, self._clock()))

    def drop(self, branch: Branch) -> None:
        """Give up a branch; one that has ended is not an error."""
        self.scheduler.branches.drop(branch)

    def step(self) -> list[EngineOutput]:
        """Run one step; returns what the requests gained, aborted ones included.

        A step that fails is tried again, and raises when it failed `max_step_faults` times in a
        row. When memory does not suffice, the request with the largest prefill fails instead.
        """
        started_s = self._clock()
        plan = self.scheduler.plan(started_s)
        outputs, self._outbox = self._outbox, []
        if not plan.is_empty:
            if self.runner.runs_ahead:
                self.scheduler.reserve_next(plan)
            outputs += self._run(plan, started_s)
            if self._controller is not None:
                self._controller.after_step(self)
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
            batch_size=self.metrics.batch_size,
            long_step_s=self.metrics.long_step_s,
            prefix_tokens=self.scheduler.memory.num_prefix_tokens,
            branches_dropped=self.scheduler.branches.num_dropped,
            not_finite=self.scheduler.num_failures,
            out_of_memory=self.metrics.out_of_memory,
            failed=self.metrics.failed,
            step_faults=self.metrics.step_faults,
            sampled_tokens=self.metrics.sampled_tokens,
            busy_s=self.metrics.busy_s,
            finished=self.metrics.finished,
        )

    def _run(self, plan: StepPlan, started_s: float) -> list[EngineOutput]:
        try:
            sampled = self.runner.run(plan)
        except Exception as error:
            if is_out_of_memory(error):
                return self._give_up_largest(plan, error)
            self._num_faults += 1
            self.metrics.step_faults += 1
            if self._num_faults >= self.config.max_step_faults:
                raise
            # Nothing of the step was committed, so it can run again.
            logger.exception("a step failed and is tried again")
            return []
        self._num_faults = 0
        ended_s = self._clock()
        result = StepResult(*sampled, ended_s, ended_s - started_s)
        outputs = self.scheduler.commit(plan, result)
        for page in self.scheduler.memory.take_soiled_pages():
            self.runner.clear_page(page)
        self.metrics.record_step(plan, result.duration_s)
        self.metrics.record_first_tokens(plan, ended_s)
        return outputs

    def _give_up_largest(self, plan: StepPlan, error: Exception) -> list[EngineOutput]:
        self.metrics.out_of_memory += 1
        logger.error("out of memory in a step: %s", memory_needed(error))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        output = self.scheduler.give_up_largest(plan, memory_needed(error), self._clock())
        return [] if output is None else [output]

    def _build(self) -> None:
        config, spec = self.config, self.spec
        device = torch.device(config.device)
        dtype = resolve_dtype(config.dtype, device)
        with said_plainly(f"loading {config.model_dir}"):
            weights = load_weights(config.model_dir, spec, dtype, device)
        geometry = KvGeometry(
            page_size=config.page_size,
            sliding_window=spec.sliding_window,
            bytes_per_page=PagedKvCache.bytes_per_page(spec, config.page_size, dtype),
            max_chunk_tokens=config.prefill_chunk_tokens,
        )
        num_pages = config.num_pages or choose_num_pages(config, geometry, device)
        with said_plainly(f"a KV cache of {num_pages} pages, {geometry.bytes_per_page} bytes each"):
            cache = PagedKvCache(spec, num_pages, config.page_size, dtype, device)
        rotary = RotaryTable(spec, config.max_model_len, dtype, device)
        slots = SlotTable(config.max_rows, geometry.num_pages(config.max_model_len))
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
    """What full batches of full length need, at most `memory_fraction` of the free memory.

    Raises OutOfMemory when that does not hold one sequence of full length.
    """
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
    else:
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    affordable = int(free_bytes * config.memory_fraction) // geometry.bytes_per_page
    wanted = config.max_running * geometry.resident_pages(config.max_model_len)
    with_watermark = int(wanted / (1 - config.watermark)) + 2
    least = geometry.resident_pages(config.max_model_len) + 1
    if affordable < least:
        raise OutOfMemory(
            f"a KV cache for max_model_len {config.max_model_len} needs "
            f"{_mib(least, geometry)} MiB and {config.memory_fraction:.0%} of the "
            f"{free_bytes >> 20} MiB that are free hold "
            f"{_mib(affordable, geometry)} MiB: lower max_model_len or raise memory_fraction"
        )
    return min(affordable, with_watermark)


def _mib(num_pages: int, geometry: KvGeometry) -> int:
    return num_pages * geometry.bytes_per_page >> 20


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
