"""Times the decode steps of transformers, the control, on the same weights and prompts."""

from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from workers.bench.decode_ceilings import synchronize
from workers.bench.decode_engine import DecodeTiming, Stopwatch, Workload

_CB_PAGE_SIZE = 256


class GenerateSubject:
    """`generate` with a cache of either kind; on CUDA a static one compiles by itself."""

    def __init__(self, model: Any, cache: str | None) -> None:
        """`cache`: what `cache_implementation` takes; None is the default, which grows."""
        self.name = f"generate {cache or 'dynamic'}"
        self._model = model
        self._cache = cache

    def run(self, workload: Workload) -> DecodeTiming:
        """Prefill, then as many decode steps as asked for."""
        ids = torch.tensor(workload.prompts, device=self._model.device)
        config = _greedy(workload, cache_implementation=self._cache)
        watch = Stopwatch(self._model.device)
        streamer = _Marks(watch, self._model.device)
        output = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            streamer=streamer,
        )
        assert output.shape[1] == workload.context + workload.num_steps + 1
        return watch.timing(workload.batch * workload.num_steps, workload.num_steps)


class _Marks:
    """A streamer that marks when tokens come: the prompt first, which does not count."""

    def __init__(self, watch: Stopwatch, device: torch.device) -> None:
        self._watch = watch
        self._device = device
        self._has_prompt = False

    def put(self, _: Tensor) -> None:
        if self._has_prompt:
            synchronize(self._device)
            self._watch.mark()
        self._has_prompt = True

    def end(self) -> None:
        """Nothing is held back."""


class ContinuousSubject:
    """`generate_batch`: continuous batching over a paged cache."""

    def __init__(self, model: Any) -> None:
        self.name = "continuous batching"
        self._model = model

    def run(self, workload: Workload) -> DecodeTiming:
        """All requests; the steps between forwards that decode the full batch are counted."""
        watch = Stopwatch(self._model.device)
        steps = _ForwardMarks(watch, workload.batch, self._model.device)
        handle = self._model.register_forward_pre_hook(steps, with_kwargs=True)
        try:
            replies = self._model.generate_batch(
                [list(prompt) for prompt in workload.prompts],
                generation_config=_greedy(workload),
                continuous_batching_config=self._settings(workload),
            )
        finally:
            handle.remove()
        lengths = {len(reply.generated_tokens) for reply in replies.values()}
        assert len(replies) == workload.batch, "a request was lost"
        assert lengths == {workload.num_steps + 1}, "a row ended early"
        assert steps.count > 1, "no step decoded the full batch: raise the number of steps"
        return watch.timing(workload.batch * (steps.count - 1), steps.count - 1)

    def _settings(self, workload: Workload) -> ContinuousBatchingConfig:
        """A cache that fits the workload, and no prefix sharing: the prompts share nothing."""
        pages = -(-(workload.context + workload.num_steps + 1) // _CB_PAGE_SIZE) + 1
        return ContinuousBatchingConfig(
            page_size=_CB_PAGE_SIZE,
            num_blocks=workload.batch * pages,
            max_batch_tokens=max(512, workload.batch),
            max_requests_per_batch=workload.batch,
            allow_block_sharing=False,
        )


class _ForwardMarks:
    """Marks the beginning of every forward that decodes the full batch and nothing else."""

    def __init__(self, watch: Stopwatch, batch: int, device: torch.device) -> None:
        self.count = 0
        self._watch = watch
        self._batch = batch
        self._device = device

    def __call__(self, module: Any, arguments: Any, keywords: Any) -> None:
        queries = keywords["cu_seq_lens_q"]  # where each request's tokens begin, and the end
        is_decode = len(queries) == self._batch + 1 and int(queries[-1]) == self._batch
        if is_decode:
            synchronize(self._device)
            self._watch.mark()
            self.count += 1


def load_model(model_dir: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """The control's model; its own generation settings, such as end tokens, are put away."""
    # It warns at every run of what the benchmark sets on purpose; lost requests are checked here.
    getLogger("ContinuousBatchingLogger").setLevel("CRITICAL")
    model: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype)
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # as it ships
    return model.eval().to(device)


def fast_paths_off(device: torch.device) -> str:
    """What the controls ran without, for the report."""
    if device.type == "cpu":
        return "generate does not compile on CPU; continuous batching runs paged sdpa, no graphs"
    return (
        "continuous batching without flash-attn: paged sdpa with a dense mask, no decode fast "
        "path, no CUDA graphs, no asynchronous batching"
    )


def _greedy(workload: Workload, **settings: Any) -> GenerationConfig:
    return GenerationConfig(  # type: ignore[no-untyped-call]  # likewise
        max_new_tokens=workload.num_steps + 1,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        **settings,
    )
