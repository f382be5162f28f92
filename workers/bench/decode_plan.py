"""Which models, batches and contexts `ponder bench decode` measures, most valuable first."""

from dataclasses import dataclass

import torch

from workers.bench.decode_models import REFERENCE

STEPS, QUICK_STEPS = 64, 4
_CONTEXT, _LONG_CONTEXT, _QUICK_CONTEXT = 512, 2048, 24
_GPU_BATCHES = (1, 8, 64, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One model with prompts of one length. `controls`: batches at which transformers runs too."""

    model: str
    context: int
    batches: tuple[int, ...]
    generate: tuple[int, ...] = ()
    continuous: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Stages in the order in which they run; every measurement is repeated, interleaved."""

    stages: tuple[Stage, ...]
    steps: int
    repeats: int

    @classmethod
    def make(cls, device: torch.device, *, quick: bool) -> "Plan":
        """What fits the device; `quick` only shows that it works."""
        if quick:
            return cls(stages=_quick_stages(), steps=QUICK_STEPS, repeats=1)
        if device.type == "cuda":
            return cls(stages=_gpu_stages(), steps=2 * STEPS, repeats=3)
        return cls(stages=_cpu_stages(), steps=STEPS, repeats=5)


def _cpu_stages() -> tuple[Stage, ...]:
    batches = (1, 8, 16)
    return tuple(
        Stage(model=model, context=_CONTEXT, batches=batches, generate=batches, continuous=(16,))
        for model in (REFERENCE, "wide")
    )


def _quick_stages() -> tuple[Stage, ...]:
    return (
        Stage(
            model=REFERENCE,
            context=_QUICK_CONTEXT,
            batches=(1, 2),
            generate=(1, 2),
            continuous=(2,),
        ),
    )


def _gpu_stages() -> tuple[Stage, ...]:
    """Ours first, the largest model first; then the controls; then long contexts."""
    models = ("8b", "1_7b", "0_6b")
    ours = [Stage(model=model, context=_CONTEXT, batches=_GPU_BATCHES) for model in models]
    beside = [
        Stage(
            model=model,
            context=_CONTEXT,
            batches=(1, 8, 64),
            generate=(1, 8),
            continuous=(64,),
        )
        for model in models
    ]
    long = [
        # The keys of 256 rows of the largest model would not fit beside its weights.
        Stage(
            model=model,
            context=_LONG_CONTEXT,
            batches=_GPU_BATCHES[:3] if model == "8b" else _GPU_BATCHES,
        )
        for model in models
    ]
    return (*ours, *beside, *long)
