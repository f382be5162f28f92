"""Benchmarks with the reference model, run by `ponder bench`. No worker imports them."""
