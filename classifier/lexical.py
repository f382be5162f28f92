"""The lexical features: what a prompt looks like, in numbers of which none is negative.

Called by features.py. Counts go in as log(1 + count), so that the tenth question mark says less
than the first; shares are between 0 and 1.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_WORD_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prove": "prove proof show demonstrate derive justify verify theorem lemma",
        "solve": "solve find compute calculate evaluate determine simplify",
        "build": "make create combine construct reach arrange design build",
        "optimise": "maximum minimum maximize minimize maximise minimise optimal best largest"
        " smallest longest shortest least most",
        "count": "many count number probability ways total sum",
        "explain": "explain why describe discuss compare analyze analyse summarize argue",
        "recall": "who what which when where name define capital is",
        "code": "write implement function program code class algorithm debug return def import",
        "condition": "if then suppose given let assume such where unless",
        "quantify": "every each all any exactly once only must cannot without never",
        "reason": "step steps think carefully reason logic puzzle strategy",
        "brief": "brief briefly short quick quickly just simply one",
    }
)
_GROUP_OF_WORD: Final[Mapping[bytes, int]] = MappingProxyType(
    {
        word.encode(): index
        for index, words in enumerate(_WORD_GROUPS.values())
        for word in words.split()
    }
)

_CHARACTER_SETS: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "question_marks": b"?",
        "arithmetic": b"+*/=^<>-",
        "brackets": b"()[]",
        "latex": b"\\$",
        "code_marks": b"`{};_",
        "commas": b",",
        "sentence_ends": b".!:",
        "quotes": b"\"'",
    }
)
_SHARED_SETS: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "digit_share": b"0123456789",
        "upper_share": bytes(range(ord("A"), ord("Z") + 1)),
        "non_ascii_share": bytes(range(0x80, 0x100)),
    }
)

# A number counts in the last class whose lower bound it reaches.
_VALUE_CLASSES: Final = (0, 1, 2, 3, 5, 7, 10, 13, 20, 50, 100, 1000)
# One step per count, so that a linear model can bend where the count grows.
_COUNT_STEPS: Final = (2, 3, 4, 5, 6, 7, 8, 10, 15, 25)
_LARGEST_VALUE: Final = 1e18
_LAST_DIGIT: Final = ord("9")

LEXICAL_NAMES: Final = (
    *("log_bytes", "log_tokens", "log_lines", "log_list_items", "log_word_length"),
    *(f"log_{name}" for name in _CHARACTER_SETS),
    *_SHARED_SETS,
    *(f"log_{name}_words" for name in _WORD_GROUPS),
    *("log_numbers", "log_largest", "log_second_largest", "log_smallest", "log_sum"),
    *("largest_share", "distinct_share", "even_share", "divisor_share", "decimal_share"),
    *(f"numbers_at_least_{step}" for step in _COUNT_STEPS),
    *(f"log_numbers_from_{bound}" for bound in _VALUE_CLASSES),
)


def lexical_features(text: bytes, window: bytes, tokens: list[bytes]) -> list[float]:
    """Values in the order of LEXICAL_NAMES.

    `text` is the whole prompt; `window` is its lower-cased part from which `tokens` were taken.
    """
    numbers = [token for token in tokens if token[0] <= _LAST_DIGIT]
    values = [_value(token) for token in numbers if token[-1] not in b".)"]
    return [
        *_shape(text, window, tokens, len(numbers) - len(values)),
        *(math.log1p(_count(window, characters)) for characters in _CHARACTER_SETS.values()),
        *(_count(text, characters) / max(1, len(text)) for characters in _SHARED_SETS.values()),
        *_word_groups(tokens),
        *_number_summary(numbers, values),
        *(float(len(values) >= step) for step in _COUNT_STEPS),
        *_value_classes(values),
    ]


def _count(text: bytes, characters: bytes) -> int:
    return len(text) - len(text.translate(None, characters))


def _value(token: bytes) -> float:
    return min(float(token.replace(b",", b"")), _LARGEST_VALUE)


def _shape(text: bytes, window: bytes, tokens: list[bytes], num_list_items: int) -> list[float]:
    letters = sum(map(len, tokens)) / max(1, len(tokens))
    counts = (len(text), len(tokens), window.count(b"\n"), num_list_items, letters)
    return [math.log1p(count) for count in counts]


def _word_groups(tokens: list[bytes]) -> list[float]:
    counts = [0] * len(_WORD_GROUPS)
    for token in tokens:
        if (group := _GROUP_OF_WORD.get(token)) is not None:
            counts[group] += 1
    return [math.log1p(count) for count in counts]


def _number_summary(numbers: list[bytes], values: list[float]) -> list[float]:
    if not values:
        return [0.0] * 10
    ordered = sorted(values)
    largest, total, count = ordered[-1], sum(ordered), len(ordered)
    others = ordered[:-1]
    magnitudes = (count, largest, others[-1] if others else 0.0, ordered[0], total)
    return [
        *map(math.log1p, magnitudes),
        largest / max(1.0, total),
        len(set(ordered)) / count,
        sum([value % 2 == 0 for value in ordered]) / count,
        sum([value >= 1 and largest % value == 0 for value in others]) / count,
        sum([b"." in number[:-1] for number in numbers]) / count,
    ]


def _value_classes(values: list[float]) -> list[float]:
    counts = [0] * len(_VALUE_CLASSES)
    for value in values:
        counts[bisect_right(_VALUE_CLASSES, value) - 1] += 1
    return [math.log1p(count) for count in counts]
