"""The classifier for models without traces: learned from human difficulty, a prior and no more."""
