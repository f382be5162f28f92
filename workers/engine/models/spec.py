"""What a checkpoint's config.json means: the one description that decoder and loader follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.engine.errors import CheckpointError

# Families and the class that transformers gives their language models.
FAMILIES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Rope:
    """Frequency scaling of Llama 3.1."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The shape of a Llama, Qwen2 or Qwen3 decoder. `windows`: per layer, None attends to all."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float
    rope_scaling: Llama3Rope | None
    qkv_bias: bool
    output_bias: bool
    qk_norm: bool
    tied_embeddings: bool
    windows: tuple[int | None, ...]
    max_positions: int  # what the positions were trained for

    @property
    def group_size(self) -> int:
        """Query heads per key-value head."""
        return self.num_heads // self.num_kv_heads

    @property
    def sliding_window(self) -> int | None:
        """The widest window, when every layer slides; else None."""
        widths = [window for window in self.windows if window is not None]
        return max(widths) if len(widths) == self.num_layers else None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelSpec":
        """Read config.json as transformers 5 does.

        Raises:
            CheckpointError: unsupported family or feature, or a missing field.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise CheckpointError(
                f"model_type {family!r} is not supported; supported: {', '.join(FAMILIES)}"
            )
        _refuse_other_kinds(FAMILIES[family], config)
        try:
            return cls(**_shape(config), **_rope(config), **_features(family, config))
        except KeyError as error:
            raise CheckpointError(f"config.json lacks {error.args[0]!r}") from None
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"config.json has a field of the wrong kind: {error}") from None


def _refuse_other_kinds(name: str, config: Mapping[str, Any]) -> None:
    architectures = config.get("architectures") or [name]
    if name not in architectures:
        raise CheckpointError(f"architectures {architectures} are not supported, only {name}")
    if config.get("quantization_config") or config.get("compression_config"):
        raise CheckpointError("quantised checkpoints are not supported: take the unquantised one")


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    is_llama = config["model_type"] == "llama"
    hidden_size, num_heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    # The defaults of transformers differ: Llama has as many, the Qwens have 32.
    num_kv_heads = int(config.get("num_key_value_heads", 0 if is_llama else 32) or num_heads)
    if config.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"hidden_act {config['hidden_act']!r} is not supported, only 'silu'")
    # Qwen3 defaults to 128 where the other families divide.
    default_dim = 128 if config["model_type"] == "qwen3" else hidden_size // max(1, num_heads)
    sizes = {
        "vocab_size": int(config["vocab_size"]),
        "hidden_size": hidden_size,
        "intermediate_size": int(config["intermediate_size"]),
        "num_layers": int(config["num_hidden_layers"]),
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": int(config.get("head_dim") or default_dim),
        "max_positions": int(config["max_position_embeddings"]),
    }
    _check_sizes(sizes)
    return sizes | {
        "norm_eps": float(config.get("rms_norm_eps", 1e-6)),
        "tied_embeddings": bool(config.get("tie_word_embeddings", False)),
    }


def _check_sizes(sizes: Mapping[str, int]) -> None:
    low = [name for name, size in sizes.items() if size < 1]
    if low:
        raise CheckpointError(f"{', '.join(low)} must be at least 1")
    if sizes["num_heads"] % sizes["num_kv_heads"]:
        raise CheckpointError("num_attention_heads must be a multiple of num_key_value_heads")
    if sizes["head_dim"] % 2:
        raise CheckpointError(f"head_dim {sizes['head_dim']} is odd: rotary embedding needs pairs")


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """`rope_parameters` (transformers 5), or `rope_scaling` and `rope_theta` (before)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if any(isinstance(value, Mapping) for value in rope.values()):
        raise CheckpointError("rope_parameters per kind of layer are not supported")
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise CheckpointError(f"rope_type {kind!r} is not supported, only 'default' and 'llama3'")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        raise CheckpointError("partial_rotary_factor other than 1 is not supported")
    scaling = _llama3_rope(rope, config) if kind == "llama3" else None
    return {"rope_theta": float(theta), "rope_scaling": scaling}


def _llama3_rope(rope: Mapping[str, Any], config: Mapping[str, Any]) -> Llama3Rope:
    position = rope.get("original_max_position_embeddings")
    scaling = Llama3Rope(
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_max_position=int(position or config["max_position_embeddings"]),
    )
    if scaling.factor < 1 or not 0 < scaling.low_freq_factor < scaling.high_freq_factor:
        raise CheckpointError(
            "rope scaling llama3 needs factor >= 1 and 0 < low_freq_factor < high_freq_factor"
        )
    return scaling


def _features(family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    attention_bias = bool(config.get("attention_bias", False))
    if config.get("mlp_bias"):
        raise CheckpointError("mlp_bias is not supported")
    return {
        "family": family,
        "qkv_bias": family == "qwen2" or attention_bias,
        "output_bias": family != "qwen2" and attention_bias,
        "qk_norm": family == "qwen3",
        "windows": _windows(family, config),
    }


def _windows(family: str, config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Per layer: `layer_types` when given, else the layers from `max_window_layers` on slide."""
    num_layers = int(config["num_hidden_layers"])
    slides = family != "llama" and bool(config.get("use_sliding_window", False))
    window = config.get("sliding_window", 4096) if slides else None
    first = int(config.get("max_window_layers", 28))
    types = config.get("layer_types") if family != "llama" else None
    if types is None:
        types = [
            "sliding_attention" if window is not None and layer >= first else "full_attention"
            for layer in range(num_layers)
        ]
    if len(types) != num_layers or set(types) - {"sliding_attention", "full_attention"}:
        raise CheckpointError("layer_types must name full_attention or sliding_attention per layer")
    if "sliding_attention" not in types:
        return (None,) * num_layers
    if window is None or int(window) < 1:
        raise CheckpointError("layers slide but use_sliding_window or sliding_window is unset")
    return tuple(int(window) if kind == "sliding_attention" else None for kind in types)
