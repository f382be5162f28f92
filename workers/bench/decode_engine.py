"""Times the decode steps of our engine: the whole loop, with scheduling and commits."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from workers.bench.decode_ceilings import synchronize
from workers.engine import EngineConfig, EngineRequest, LLMEngine, SpecialTokens

PAGE_SIZE = 16
_CHUNK_TOKENS = {"cpu": 512, "cuda": 4096}
_PROFILED_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeTiming:
    """Steps of a full batch: they begin when every row has its first token.

    `first_token_s` is when that was, after the start. `cpu_s` is the time of all threads of this
    process; with one thread it is the wall time of a machine that does nothing else.
    """

    num_tokens: int
    num_steps: int
    wall_s: float
    cpu_s: float
    first_token_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.wall_s

    @property
    def tokens_per_cpu_s(self) -> float:
        return self.num_tokens / self.cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Prompts of equal length; every row gets `num_steps` decode steps. Greedy."""

    prompts: Sequence[Sequence[int]]
    num_steps: int

    @classmethod
    def random(cls, vocab_size: int, batch: int, context: int, num_steps: int) -> "Workload":
        """Prompts without the first and last ids, which may steer the model."""
        generator = torch.Generator().manual_seed(batch)
        ids = torch.randint(8, vocab_size - 8, (batch, context), generator=generator)
        return cls(prompts=ids.tolist(), num_steps=num_steps)

    @property
    def batch(self) -> int:
        return len(self.prompts)

    @property
    def context(self) -> int:
        return len(self.prompts[0])


class Stopwatch:
    """Marks moments by the wall clock and by the time of this process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started_s = time.perf_counter()
        self._marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """Remember this moment."""
        self._marks.append((time.perf_counter(), time.process_time()))

    def timing(self, num_tokens: int, num_steps: int) -> DecodeTiming:
        """From the first mark to the last."""
        (first_s, first_cpu_s), (last_s, last_cpu_s) = self._marks[0], self._marks[-1]
        return DecodeTiming(
            num_tokens=num_tokens,
            num_steps=num_steps,
            wall_s=last_s - first_s,
            cpu_s=last_cpu_s - first_cpu_s,
            first_token_s=first_s - self._started_s,
        )


class EngineSubject:
    """Our engine on one checkpoint, with pages for the largest workload it is given."""

    name = "ponder"

    def __init__(
        self,
        model_dir: Path,
        tokens: SpecialTokens,
        device: torch.device,
        dtype: str,
        workloads: Sequence[Workload],
    ) -> None:
        """`tokens` must be such that the model never says them: then nothing ends a run."""
        self._device = device
        self._chunk_tokens = _CHUNK_TOKENS[device.type]
        lengths = [w.context + self._budget(w) + 4 for w in workloads]
        pages = [
            w.batch * (length // PAGE_SIZE + 1)
            for w, length in zip(workloads, lengths, strict=True)
        ]
        self.engine = LLMEngine(
            EngineConfig(
                model_dir=model_dir,
                device=str(device),
                dtype=dtype,
                page_size=PAGE_SIZE,
                num_pages=int(max(pages) * 1.03) + 2,  # the watermark
                max_running=max(w.batch for w in workloads),
                max_model_len=max(lengths),
                prefill_chunk_tokens=self._chunk_tokens,
                # On a slow machine too: `_budget` counts the steps that the prefill takes.
                min_prefill_chunk_tokens=self._chunk_tokens,
            ),
            tokens,
        )
        self._host_s = 0.0
        for method in ("plan", "commit"):
            # The engine has no need to time its own parts at every step; the benchmark has.
            timed = self._timed(getattr(self.engine.scheduler, method))
            setattr(self.engine.scheduler, method, timed)
        self._num_runs = 0

    def run(self, workload: Workload) -> DecodeTiming:
        """Prefill all prompts, then time the decode steps of the full batch."""
        watch = Stopwatch(self._device)
        self._start(workload)
        synchronize(self._device)
        self._host_s = 0.0
        before = self.engine.metrics.sampled_tokens
        watch.mark()
        for _ in range(workload.num_steps):
            self.engine.step()
        synchronize(self._device)
        watch.mark()
        num_tokens = self.engine.metrics.sampled_tokens - before
        self._check_full(workload)
        self._abort(workload)
        return watch.timing(num_tokens, workload.num_steps)

    @property
    def host_s(self) -> float:
        """Time in the scheduler, planning and committing, during the steps of the last run."""
        return self._host_s

    def gpu_busy_share(self, workload: Workload) -> float:
        """Share of the time in which the GPU computes, in steps of a run of its own."""
        self._start(workload)
        synchronize(self._device)
        started_s = time.perf_counter()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(_PROFILED_STEPS):
                self.engine.step()
            synchronize(self._device)
            elapsed_s = time.perf_counter() - started_s
        self._abort(workload)
        busy_us = sum(float(event.self_device_time_total) for event in profile.key_averages())
        return busy_us / 1e6 / elapsed_s

    def _start(self, workload: Workload) -> None:
        """Submit the prompts and step until every row decodes."""
        self._num_runs += 1
        for row, prompt in enumerate(workload.prompts):
            self.engine.add_request(
                EngineRequest(
                    request_id=self._id(row),
                    prompt_ids=prompt,
                    thinking_budget=self._budget(workload),
                    max_answer_tokens=1,
                )
            )
        while not self._is_full(workload):
            self.engine.step()

    def _is_full(self, workload: Workload) -> bool:
        running = self.engine.scheduler.running
        return len(running) == workload.batch and all(s.first_token_s for s in running)

    def _check_full(self, workload: Workload) -> None:
        assert self._is_full(workload), (
            "a row ended early: the steps were not those of a full batch"
        )

    def _abort(self, workload: Workload) -> None:
        for row in range(workload.batch):
            self.engine.abort(self._id(row))
        while self.engine.has_work:
            self.engine.step()

    def _id(self, row: int) -> str:
        return f"{self._num_runs}-{row}"

    def _budget(self, workload: Workload) -> int:
        """Tokens enough for the first row, which decodes while the others are prefilled."""
        prefill_steps = -(-workload.batch * workload.context // self._chunk_tokens)
        return workload.num_steps + _PROFILED_STEPS + 2 * prefill_steps + 4

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            started_s = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self._host_s += time.perf_counter() - started_s

        return timed
