"""Reads a Hugging Face model directory into the decoder's weights.

Every tensor that the ModelSpec expects must be there with its shape, and nothing else may be.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from workers.engine.errors import CheckpointError
from workers.engine.models.checkpoint import Checkpoint, read_json
from workers.engine.models.decoder import DecoderWeights, LayerWeights
from workers.engine.models.linear import lay_out
from workers.engine.models.memory import FreeBytes, enough_memory, free_bytes, weight_bytes
from workers.engine.models.spec import ModelSpec

_MAX_COPIED_BYTES = 1 << 26
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def load_spec(model_dir: Path) -> ModelSpec:
    """The description of the checkpoint; raises CheckpointError."""
    if not model_dir.is_dir():
        raise CheckpointError(
            f"{model_dir}: no such directory; give a Hugging Face model directory"
        )
    try:
        return ModelSpec.from_config(read_json(model_dir / "config.json"))
    except CheckpointError as error:
        message = str(error)
        raise CheckpointError(
            message if message.startswith(str(model_dir)) else f"{model_dir}: {message}"
        ) from None


def load_weights(
    model_dir: Path,
    spec: ModelSpec,
    dtype: torch.dtype,
    device: torch.device,
    free: FreeBytes = free_bytes,
) -> DecoderWeights:
    """All weights on `device` in `dtype`; raises CheckpointError."""
    kind = str(dtype).removeprefix("torch.")
    what = f"{model_dir}: the weights as {kind}"
    with (
        Checkpoint(model_dir) as checkpoint,
        enough_memory(weight_bytes(spec, dtype), what, device, free),
    ):
        weights = _Assembly(spec, checkpoint, dtype, device).decoder()
        _check_unread(model_dir, spec, checkpoint, weights.embedding)
    return weights


class _Assembly:
    """Builds weights from a checkpoint; projections that share their input are fused."""

    def __init__(
        self, spec: ModelSpec, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._spec = spec
        self._checkpoint = checkpoint
        self._empty = partial(torch.empty, dtype=dtype, device=device)

    def decoder(self) -> DecoderWeights:
        spec = self._spec
        embedding = self._empty((spec.vocab_size, spec.hidden_size))
        self._checkpoint.read(_EMBEDDING, embedding)
        layers = [self._layer(f"model.layers.{index}.") for index in range(spec.num_layers)]
        norm = self._take("model.norm.weight", spec.hidden_size)
        if spec.tied_embeddings:
            return DecoderWeights(embedding, layers, norm, self._tied_head(embedding))
        head = self._take(_HEAD, spec.vocab_size, spec.hidden_size)
        return DecoderWeights(embedding, layers, norm, head)

    def _tied_head(self, embedding: Tensor) -> Tensor:
        """The embedding; a small one on CPU is copied into the order that multiplies faster."""
        return embedding if embedding.nbytes > _MAX_COPIED_BYTES else lay_out(embedding)

    def _layer(self, prefix: str) -> LayerWeights:
        spec, attention = self._spec, prefix + "self_attn."
        hidden, query_size = spec.hidden_size, spec.num_heads * spec.head_dim
        sizes = {f"{attention}q_proj.": query_size}
        sizes |= {f"{attention}{n}_proj.": spec.num_kv_heads * spec.head_dim for n in "kv"}
        gate_up = {f"{prefix}mlp.{n}_proj.weight": spec.intermediate_size for n in ("gate", "up")}
        weights = {name + "weight": size for name, size in sizes.items()}
        biases = {name + "bias": size for name, size in sizes.items()}
        return LayerWeights(
            input_norm=self._take(prefix + "input_layernorm.weight", hidden),
            qkv=self._fuse(weights, hidden),
            qkv_bias=self._fuse(biases) if spec.qkv_bias else None,
            qk_norm=self._qk_norm(attention) if spec.qk_norm else None,
            output=self._take(attention + "o_proj.weight", hidden, query_size),
            output_bias=self._take(attention + "o_proj.bias", hidden) if spec.output_bias else None,
            mlp_norm=self._take(prefix + "post_attention_layernorm.weight", hidden),
            gate_up=self._fuse(gate_up, hidden),
            down=self._take(prefix + "mlp.down_proj.weight", hidden, spec.intermediate_size),
        )

    def _take(self, name: str, *shape: int) -> Tensor:
        return self._fuse({name: shape[0]}, *shape[1:])

    def _fuse(self, sizes: dict[str, int], *columns: int) -> Tensor:
        """Tensors of (size, *columns) below each other."""
        fused = self._empty((sum(sizes.values()), *columns))
        start = 0
        for name, size in sizes.items():
            self._checkpoint.read(name, fused[start : start + size])
            start += size
        return lay_out(fused) if columns else fused

    def _qk_norm(self, attention: str) -> Tensor:
        """The norm weights repeated per head, (heads + kv_heads, head_dim)."""
        spec = self._spec
        query = self._take(attention + "q_norm.weight", spec.head_dim)
        key = self._take(attention + "k_norm.weight", spec.head_dim)
        return torch.cat((query.expand(spec.num_heads, -1), key.expand(spec.num_kv_heads, -1)))


def _check_unread(
    model_dir: Path, spec: ModelSpec, checkpoint: Checkpoint, embedding: Tensor
) -> None:
    """Old checkpoints carry rotary buffers; tied ones may repeat the head, unchanged."""
    extra = [name for name in checkpoint.unread if not name.endswith("rotary_emb.inv_freq")]
    if spec.tied_embeddings and _HEAD in extra:
        extra.remove(_HEAD)
        head = torch.empty_like(embedding)
        checkpoint.read(_HEAD, head)
        if not torch.equal(head, embedding):
            raise CheckpointError(
                f"{model_dir}: {_HEAD} differs from {_EMBEDDING}, "
                "which tie_word_embeddings in config.json says it equals"
            )
    if extra:
        raise CheckpointError(
            f"{model_dir}: {len(extra)} tensors that config.json does not explain, first {extra[0]}"
        )
