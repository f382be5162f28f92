"""Runs a plan of `ponder bench decode`: measurements of our engine and of the controls."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import torch

from workers.bench.decode_ceilings import Ceilings, StepWork
from workers.bench.decode_engine import DecodeTiming, EngineSubject, Workload
from workers.bench.decode_models import ModelStore, model_tokens
from workers.bench.decode_plan import Plan, Stage
from workers.bench.decode_transformers import ContinuousSubject, GenerateSubject, load_model

CONTINUOUS = "continuous batching"
GENERATE = "generate"


class Subject(Protocol):
    """Something that decodes."""

    name: str

    def run(self, workload: Workload) -> DecodeTiming:
        """Time one workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Medians over the repeats. Ratios go by `speed`: CPU seconds on CPU, the wall clock on CUDA.

    One thread computes on CPU: its seconds are those of the wall clock of an idle machine, and do
    not move with what else runs. `host_us` is scheduling and booking per step.
    """

    model: str
    subject: str
    batch: int
    context: int
    tokens_per_s: float
    speed: float
    first_token_s: float
    gb_per_s: float
    roofline: float
    busy_share: float
    host_us: float | None = None

    @property
    def is_ours(self) -> bool:
        return self.host_us is not None


class DecodeRunner:
    """Measures stage by stage on one device."""

    def __init__(
        self, plan: Plan, store: ModelStore, device: torch.device, ceilings: Ceilings
    ) -> None:
        self._plan = plan
        self._store = store
        self._device = device
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._ceilings = ceilings

    def run(self) -> Iterator[Measurement]:
        """Measurements as they become ready."""
        for stage in self._plan.stages:
            yield from self._run_stage(stage)
            gc.collect()  # engines refer to themselves
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _run_stage(self, stage: Stage) -> Iterator[Measurement]:
        directory = self._store.directory(stage.model)
        tokens = model_tokens(stage.model)
        dtype = str(self._dtype).removeprefix("torch.")
        workloads = [self._workload(stage, batch) for batch in stage.batches]
        engine = EngineSubject(directory, tokens, self._device, dtype, workloads)
        controls: list[GenerateSubject | ContinuousSubject] = []
        if stage.generate or stage.continuous:
            model = load_model(directory, self._device, self._dtype)
            controls = [GenerateSubject(model, cache) for cache in (None, "static")]
            controls.append(ContinuousSubject(model))
        for workload in workloads:
            chosen = [c for c in controls if _applies(c, stage, workload.batch)]
            yield from self._measure(stage, workload, engine, chosen)

    def _workload(self, stage: Stage, batch: int) -> Workload:
        vocab_size = self._store.vocab_size(stage.model)
        return Workload.random(vocab_size, batch, stage.context, self._plan.steps)

    def _measure(
        self,
        stage: Stage,
        workload: Workload,
        engine: EngineSubject,
        controls: list[GenerateSubject | ContinuousSubject],
    ) -> Iterator[Measurement]:
        subjects: list[Subject] = [engine, *controls]
        timings: dict[str, list[DecodeTiming]] = {subject.name: [] for subject in subjects}
        host_s = []
        for subject in subjects:
            subject.run(workload)  # warm-up: memory, caches, compilation
        for _ in range(self._plan.repeats):
            for subject in subjects:
                timings[subject.name].append(subject.run(workload))
            host_s.append(engine.host_s)
        for name, runs in timings.items():
            host_us = 1e6 * median(host_s) / workload.num_steps if name == engine.name else None
            yield self._summary(stage, workload, engine, (name, runs), host_us)

    def _summary(
        self,
        stage: Stage,
        workload: Workload,
        engine: EngineSubject,
        measured: tuple[str, list[DecodeTiming]],
        host_us: float | None,
    ) -> Measurement:
        name, runs = measured
        is_gpu = self._device.type == "cuda"
        tokens_per_s = median(run.tokens_per_s for run in runs)
        speed = tokens_per_s if is_gpu else median(run.tokens_per_cpu_s for run in runs)
        context = workload.context + workload.num_steps // 2
        work = StepWork.of(engine.engine.spec, self._dtype, workload.batch, context)
        step_s = workload.batch / speed
        if is_gpu:
            busy_share = engine.gpu_busy_share(workload) if host_us is not None else float("nan")
        else:
            busy_share = median(run.cpu_s / run.wall_s for run in runs)
        return Measurement(
            model=stage.model,
            subject=name,
            batch=workload.batch,
            context=workload.context,
            tokens_per_s=tokens_per_s,
            speed=speed,
            first_token_s=median(run.first_token_s for run in runs),
            gb_per_s=work.total_bytes / step_s / 1e9,
            roofline=self._ceilings.step_floor_s(work) / step_s,
            busy_share=busy_share,
            host_us=host_us,
        )


def _applies(control: GenerateSubject | ContinuousSubject, stage: Stage, batch: int) -> bool:
    is_continuous = isinstance(control, ContinuousSubject)
    return batch in (stage.continuous if is_continuous else stage.generate)
