"""Prompt -> ids -> feature vector. The same code in training, in serving and for stored traces.

The ids are what a trace keeps when it may not keep the prompt: FEATURE_VERSION, the lexical
features as fixed-point integers, then one id per distinct word and pair of words that a prompt
holds (hashed, so the text cannot be read back). The vector is computed from the ids alone, so a
model can be retrained on traces without prompts.

Bytes, ASCII case folding, CRC-32 and fixed point make the ids equal on every platform.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.lexical import LEXICAL_NAMES, lexical_features

FEATURE_VERSION: Final = 1
"""Raise it with every change to the ids or to the vector; old ids are then refused."""

NUM_LEXICAL: Final = len(LEXICAL_NAMES)
NUM_BUCKETS: Final = 1024
NUM_FEATURES: Final = NUM_LEXICAL + NUM_BUCKETS

MAX_SCANNED_BYTES: Final = 4096
"""Of a longer prompt the first and the last half of this are read; its length counts in full."""

_FIXED_POINT: Final = 1024
_LARGEST_ID: Final = 2**32 - 1
_LAST_DIGIT: Final = ord("9")
_NUMBER_CLASSES: Final = tuple(b"#%d" % num_digits for num_digits in range(10))

# A list marker at the start of a line, a number, an ASCII word, or up to six bytes of other
# scripts: two CJK characters or three Cyrillic letters, as there is no list of words to split by.
_TOKEN: Final = re.compile(
    rb"(?<=\n)[0-9]{1,2}[.)](?=\s)"
    rb"|(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    rb"|[a-z]+"
    rb"|[\x80-\xff]{1,6}"
)


def encode(prompt: str) -> NDArray[np.uint32]:
    """The ids of a prompt: shape (1 + NUM_LEXICAL + number of distinct n-grams,)."""
    text = prompt.encode("utf-8", errors="surrogatepass")
    window = _window(text).lower()
    tokens = _TOKEN.findall(window)
    lexical = np.rint(np.array(lexical_features(text, window, tokens)) * _FIXED_POINT)
    header = np.array([FEATURE_VERSION], dtype=np.uint32)
    return np.concatenate([header, lexical.astype(np.uint32), _ngram_ids(tokens)])


def vectorize(ids: Sequence[int] | NDArray[np.uint32]) -> NDArray[np.float32]:
    """The feature vector, float32 (NUM_FEATURES,). Raises ValueError for ids of another making.

    An n-gram adds +1 or -1 to its bucket, so that collisions cancel on average; the hashed part
    is scaled by the root of the number of n-grams, so that a long prompt cannot outweigh the rest.
    Source: Weinberger et al. (2009), "Feature Hashing for Large Scale Multitask Learning".
    """
    stored = _checked(ids)
    ngrams = stored[1 + NUM_LEXICAL :]
    signs = 1.0 - 2.0 * (ngrams & 1)
    vector = np.empty(NUM_FEATURES, dtype=np.float32)
    vector[:NUM_LEXICAL] = stored[1 : 1 + NUM_LEXICAL] / _FIXED_POINT
    vector[NUM_LEXICAL:] = np.bincount(ngrams >> 1, weights=signs, minlength=NUM_BUCKETS)
    vector[NUM_LEXICAL:] /= max(1.0, len(ngrams) ** 0.5)
    return vector


def vectorize_rows(values: NDArray[np.uint32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """`vectorize` of many: row i has the ids values[offsets[i] : offsets[i + 1]].

    Equal to it to the last bit; (num_rows, NUM_FEATURES). Raises ValueError.
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    _check_rows(values, starts, lengths)
    vectors = np.empty((len(starts), NUM_FEATURES), dtype=np.float32)
    lexical = values[starts[:, np.newaxis] + np.arange(1, 1 + NUM_LEXICAL)]
    vectors[:, :NUM_LEXICAL] = lexical / _FIXED_POINT
    num_ngrams = lengths - (1 + NUM_LEXICAL)
    rows = np.repeat(np.arange(len(starts)), num_ngrams)
    ngrams = values[_ngram_positions(starts, num_ngrams)].astype(np.int64)
    if (ngrams >= 2 * NUM_BUCKETS).any():
        raise ValueError(f"features hold an n-gram id outside 0..{2 * NUM_BUCKETS - 1}")
    buckets, signs = rows * NUM_BUCKETS + (ngrams >> 1), 1.0 - 2.0 * (ngrams & 1)
    sums = np.bincount(buckets, weights=signs, minlength=len(starts) * NUM_BUCKETS)
    vectors[:, NUM_LEXICAL:] = sums.reshape(-1, NUM_BUCKETS)
    norms = np.maximum(1.0, np.sqrt(num_ngrams)).astype(np.float32)
    vectors[:, NUM_LEXICAL:] /= norms[:, np.newaxis]
    return vectors


def _check_rows(
    values: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    too_short = np.flatnonzero(lengths < 1 + NUM_LEXICAL)
    wrong = too_short if len(too_short) else np.flatnonzero(values[starts] != FEATURE_VERSION)
    if len(wrong):
        row = wrong[0]
        _checked(values[starts[row] : starts[row] + lengths[row]])


def _ngram_positions(starts: NDArray[np.int64], num_ngrams: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the n-grams of all rows stand, row by row."""
    ends = np.cumsum(num_ngrams)
    firsts = np.repeat(starts + 1 + NUM_LEXICAL - (ends - num_ngrams), num_ngrams)
    positions: NDArray[np.int64] = firsts + np.arange(len(firsts))
    return positions


def _checked(ids: Sequence[int] | NDArray[np.uint32]) -> NDArray[np.int64]:
    try:
        stored = np.asarray(ids, dtype=np.int64)
    except OverflowError as error:
        raise ValueError("features hold an id that does not fit into 32 bits") from error
    if stored.ndim != 1 or len(stored) < 1 + NUM_LEXICAL or stored[0] != FEATURE_VERSION:
        version = int(stored.flat[0]) if stored.size else None
        raise ValueError(
            f"features have version {version} and length {stored.size}; this code reads version "
            f"{FEATURE_VERSION} with at least {1 + NUM_LEXICAL} ids: encode the prompt again"
        )
    ngrams = stored[1 + NUM_LEXICAL :]
    if stored.min() < 0 or stored.max() > _LARGEST_ID or (ngrams >= 2 * NUM_BUCKETS).any():
        raise ValueError(f"features hold an n-gram id outside 0..{2 * NUM_BUCKETS - 1}")
    return stored


def _window(text: bytes) -> bytes:
    if len(text) <= MAX_SCANNED_BYTES:
        return text
    half = MAX_SCANNED_BYTES // 2
    return text[:half] + b"\n" + text[-half:]


def _ngram_ids(tokens: list[bytes]) -> NDArray[np.uint32]:
    """Distinct ids of words and word pairs: 2 * bucket + (1 when the sign is negative)."""
    words = [_number_class(token) if token[0] <= _LAST_DIGIT else token for token in tokens]
    hashes = np.fromiter(map(zlib.crc32, words), dtype=np.uint32, count=len(words))
    pairs = hashes[:-1] * np.uint32(0x9E3779B1) + hashes[1:]  # 2**32 / golden ratio
    mixed = _mix(np.concatenate([hashes, pairs]))
    counts = np.bincount(mixed & np.uint32(2 * NUM_BUCKETS - 1))
    return np.flatnonzero(counts).astype(np.uint32)


def _number_class(token: bytes) -> bytes:
    """A number by its digits before the point, so that its value is not hashed; or a list mark."""
    if token[-1] in b".)":
        return b"#."
    digits = token.partition(b".")[0]
    return _NUMBER_CLASSES[min(len(digits) - digits.count(b","), 9)]


def _mix(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spread every bit over all others. Source: MurmurHash3 fmix32, A. Appleby, public domain."""
    mixed = hashes ^ (hashes >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed
