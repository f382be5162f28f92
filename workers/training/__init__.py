"""How the reference model is made: problems, teacher traces, tokenizer, trainer, evaluation.

Nothing here is imported by a serving worker.
"""
