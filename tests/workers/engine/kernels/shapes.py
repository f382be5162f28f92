"""Model shapes of the kernel tests: one small enough to interpret, and published ones.

Sources: config.json of Qwen/Qwen3-0.6B, Qwen3-1.7B, Qwen3-8B and Qwen/Qwen2.5-0.5B.
"""

from dataclasses import replace

from workers.engine.models.spec import ModelSpec

SMALL = ModelSpec(
    family="qwen3",
    vocab_size=97,
    max_positions=4096,
    hidden_size=64,
    intermediate_size=96,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    norm_eps=1e-6,
    rope_theta=1e4,
    rope_scaling=None,
    qkv_bias=False,
    output_bias=False,
    qk_norm=True,
    tied_embeddings=True,
    windows=(None, None),
)
QWEN3_06B = replace(
    SMALL,
    vocab_size=151936,
    hidden_size=1024,
    intermediate_size=3072,
    num_layers=28,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    rope_theta=1e6,
    windows=(None,) * 28,
)
QWEN3_17B = replace(QWEN3_06B, hidden_size=2048, intermediate_size=6144)
QWEN3_8B = replace(
    QWEN3_06B,
    hidden_size=4096,
    intermediate_size=12288,
    num_layers=36,
    num_heads=32,
    tied_embeddings=False,
    windows=(None,) * 36,
)
QWEN25_05B = replace(
    QWEN3_06B,
    family="qwen2",
    hidden_size=896,
    intermediate_size=4864,
    num_layers=24,
    num_heads=14,
    num_kv_heads=2,
    head_dim=64,
    qkv_bias=True,
    qk_norm=False,
    windows=(None,) * 24,
)
