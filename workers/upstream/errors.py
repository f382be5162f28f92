"""What can go wrong with an upstream; none of it leaves this package but UpstreamUnusable.

UpstreamUnusable  cannot be worked with: not there, or it does not offer what is needed
UpstreamTrouble   of one call
  Broken          the call came to no end; another may
  Garbled         the reply makes no sense; another may
  HeldBack        the server does not say which tokens it sampled; asked for all at once it does
  Busy            the server has too much to do
  Missing         the server has no such page
  Refused         the server will never do this
"""

from workers.errors import WorkerError


class UpstreamUnusable(WorkerError):
    """The server is not there, or does not offer what a worker needs."""


class UpstreamTrouble(Exception):
    """A call went wrong."""


class Broken(UpstreamTrouble):
    """A call came to no end: the connection is broken, or the server."""


class Garbled(UpstreamTrouble):
    """A reply makes no sense, or does not add up."""


class HeldBack(UpstreamTrouble):
    """Tokens whose text is not whole yet are not streamed, and their ids are lost."""


class Busy(UpstreamTrouble):
    """Too much to do; `retry_after_s` is what the server asked for, 0 if it did not."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Missing(UpstreamTrouble):
    """There is no such page: another kind of server, or not the model that was there."""


class Refused(UpstreamTrouble):
    """No repetition of this call will succeed."""
