"""Benchmarks of the classifiers, run by `ponder bench`."""
