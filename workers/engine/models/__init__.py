"""Decoder-only language models from Hugging Face directories."""
