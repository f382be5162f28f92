"""Replies of late, so that a request which is repeated after its end is not run twice."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from router.decisions import Reply
from router.errors import DuplicateRequest
from router.queries import Query

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    reply: Reply
    fingerprint: bytes
    expires_at_s: float


class RecentReplies:
    """Keeps the last `max_replies`, each for `ttl_s`. Ids are unique per tenant."""

    def __init__(
        self, max_replies: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_replies = max_replies
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def find(self, query: Query) -> Reply | None:
        """The reply that the same request got. Raises DuplicateRequest when it was another one."""
        kept = self._kept.get(_key(query))
        if kept is None or kept.expires_at_s <= self._clock():
            return None
        if kept.fingerprint != query.fingerprint:
            raise DuplicateRequest("request_id was used for a different request; use a new one")
        return kept.reply

    def keep(self, query: Query, reply: Reply) -> None:
        """For those who ask again."""
        key = _key(query)
        self._kept[key] = _Kept(reply, query.fingerprint, self._clock() + self._ttl_s)
        self._kept.move_to_end(key)
        while len(self._kept) > self._max_replies:
            self._kept.popitem(last=False)


def _key(query: Query) -> _Key:
    return query.tenant.name, query.request_id
