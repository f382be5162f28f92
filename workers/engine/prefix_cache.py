"""Which page holds which tokens, so that equal prefixes are computed once. Pure Python.

A page is found by a digest of every token up to its end and is compared token by token, so a hit
is a page that holds exactly these keys, whatever wrote them.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

_ROOT = b""
# Collisions cannot be made on purpose: one caller must not be served the keys of another's prompt.
_DIGEST_BYTES = 16


class PageKey(NamedTuple):
    """A full page: `digest` of all tokens up to its end, `tokens` (int32) those it holds."""

    digest: bytes
    tokens: bytes


def extend_keys(keys: list[PageKey], ids: Sequence[int], page_size: int, num_pages: int) -> None:
    """Append the keys of the full pages of `ids` from page len(keys) to page `num_pages`."""
    for page in range(len(keys), num_pages):
        tokens = array("i", ids[page * page_size : (page + 1) * page_size]).tobytes()
        parent = keys[-1].digest if keys else _ROOT
        keys.append(PageKey(blake2b(parent + tokens, digest_size=_DIGEST_BYTES).digest(), tokens))


class PrefixIndex:
    """Keys to pages and back; a key has one page, a page one key."""

    def __init__(self) -> None:
        self._pages: dict[bytes, int] = {}
        self._keys: dict[int, PageKey] = {}

    def __contains__(self, page: int) -> bool:
        return page in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, page: int, key: PageKey) -> None:
        """Make `page` findable, unless it or its tokens are already."""
        if page not in self._keys and key.digest not in self._pages:
            self._pages[key.digest] = page
            self._keys[page] = key

    def find(self, key: PageKey) -> int | None:
        """The page that holds these tokens after these, if any."""
        page = self._pages.get(key.digest)
        return page if page is not None and self._keys[page].tokens == key.tokens else None

    def remove(self, page: int) -> None:
        """Forget `page`; one that is not findable is no error."""
        key = self._keys.pop(page, None)
        if key is not None:
            del self._pages[key.digest]

    def check(self) -> None:
        """Assert that both directions agree."""
        assert len(self._pages) == len(self._keys), "a page and its key disagree"
        for page, key in self._keys.items():
            assert self._pages[key.digest] == page, f"page {page} is not found by its key"
