"""`ponder chaos`: real processes under load while they are killed, paused and cut off."""
