"""The part of `ponder bench blocking` that runs real processes, beside the simulation."""
