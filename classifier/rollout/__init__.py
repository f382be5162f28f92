"""The commands that put a new classifier into the store, and roll it out step by step."""
