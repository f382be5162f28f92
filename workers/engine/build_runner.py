"""Chooses, once at start, how steps run: eagerly on the CPU, pipelined through graphs on CUDA."""

import torch

from workers.engine.config import EngineConfig
from workers.engine.graphs import CudaCapture, choose_buckets
from workers.engine.kernels.interface import DecodeKernels
from workers.engine.kv_cache import PagedKvCache
from workers.engine.models.decoder import Decoder
from workers.engine.models.row_decoder import RowDecoder
from workers.engine.pipeline import PipelinedRunner
from workers.engine.row_mirror import RowMirror
from workers.engine.row_runner import RowRunner
from workers.engine.row_table import RowTable
from workers.engine.runner import ModelRunner
from workers.engine.sampler import Sampler
from workers.engine.slots import SlotTable
from workers.engine.streams import CudaStream, Stream

Runner = ModelRunner | PipelinedRunner


def build_runner(
    config: EngineConfig,
    decoder: Decoder,
    cache: PagedKvCache,
    sampler: Sampler,
    slots: SlotTable,
) -> Runner:
    """The runner of the device that the cache is on; on CUDA with its graphs captured.

    Raises:
        ValueError: a GPU other than the first; streams and graphs use the current device.
    """
    eager = ModelRunner(decoder, cache, sampler, slots, cache.device)
    if cache.device.type != "cuda":
        return eager
    if cache.device.index:
        raise ValueError(f"device must be cuda, not {cache.device}: set CUDA_VISIBLE_DEVICES")
    kernels = _fused_kernels(config, decoder, sampler, cache.device)
    buckets = choose_buckets(config.max_rows)
    pipelined = pipeline_runner(eager, cache, sampler, kernels, CudaStream(), buckets)
    pipelined.rows.capture(CudaCapture())
    return pipelined


def pipeline_runner(
    eager: ModelRunner,
    cache: PagedKvCache,
    sampler: Sampler,
    kernels: DecodeKernels,
    stream: Stream,
    buckets: list[int],
) -> PipelinedRunner:
    """Device-resident rows around an eager runner, which computes the prefill."""
    decoder, slots = eager.decoder, eager.slots
    num_slots, max_pages = slots.page_table.shape
    table = RowTable(num_slots, max_pages, cache.device)
    row_decoder = RowDecoder(decoder.spec, decoder.weights, cache, kernels)
    rows = RowRunner(row_decoder, table, stream, buckets)
    mirror = RowMirror(slots, table.word_stride, cache.page_size, sampler.close_id)
    return PipelinedRunner(eager, rows, mirror, stream)


def _fused_kernels(
    config: EngineConfig, decoder: Decoder, sampler: Sampler, device: torch.device
) -> DecodeKernels:
    # Here, because a machine without CUDA need not have triton.
    from workers.engine.kernels.decode_attention import DecodeAttention
    from workers.engine.kernels.fused import FusedKernels

    num_processors = torch.cuda.get_device_properties(device).multi_processor_count
    attention = DecodeAttention(decoder.spec, config.max_rows, num_processors, device)
    return FusedKernels(decoder.spec, decoder.rotary, sampler, attention, num_processors)
