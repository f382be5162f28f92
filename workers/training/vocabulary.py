"""The tokenizer: whole words and numbers the training text uses, raw bytes for everything else.

Llama-3 style byte-level BPE without merges: a pre-token that is in the vocabulary is one token,
any other is spelled in bytes, so every string has an encoding and decodes to itself.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from workers.training import wordings
from workers.training.countdown import MAX_INPUT, MAX_VALUE, SIZES
from workers.training.families import CAPITALS

BOS, EOS, THINK, END_THINK = "<bos>", "<eos>", "<think>", "</think>"
SPECIAL_TOKENS = (BOS, EOS, THINK, END_THINK)

_PRE_TOKEN = r"\n| ?\d+| ?\p{L}+|\(+| ?[^\s\p{L}\d(]|\s"


def build_tokenizer() -> Tokenizer:
    """Build the tokenizer from the wordings, the facts and the number range."""
    vocabulary = {token: i for i, token in enumerate(SPECIAL_TOKENS)}
    for piece in [*sorted(pre_tokenizers.ByteLevel.alphabet()), *_pieces(_training_texts())]:
        vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    return tokenizer


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_PRE_TOKEN), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, to_bytes])


def _pieces(texts: Iterable[str]) -> list[str]:
    pre_tokenizer = _pre_tokenizer()
    return sorted({piece for text in texts for piece, _ in pre_tokenizer.pre_tokenize_str(text)})


def _training_texts() -> Iterable[str]:
    yield from wordings.COUNTDOWN + wordings.reasoning_gym_countdown()
    yield from wordings.EQUATION + wordings.ARITHMETIC + wordings.CAPITAL + wordings.SYSTEM
    yield from (wordings.REASONING_GYM_SUM, *wordings.reasoning_gym_equations())
    yield "\n 3, 5 and 8: wait, no yes x = 4, y = 4 2x + 3y = 1 - 2 * 3 / 4 ="
    for letter in string.ascii_lowercase:
        yield f"3*{letter} {letter}: {letter}"
    for number in range(max(MAX_VALUE, MAX_INPUT) + 1):
        yield f"{number} {number}"
    for size in SIZES:
        yield "(" * (size - 2) + "3)"
    for country, city in CAPITALS.items():
        yield f"{country} {country} {city} {city}"
        yield f"{country}"
        yield f"{city}"
