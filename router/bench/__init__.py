"""Benchmarks of the router, run by `ponder bench`. Nothing here is imported by a running router."""
