"""What a decode step computes, as a few fused operations: in torch, and in Triton for CUDA.

`interface` says what they are, `reference` computes them with torch on any device, and `fused`
launches the Triton kernels of the other modules. Only those modules import triton.
"""
