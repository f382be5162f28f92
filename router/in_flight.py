"""Requests under way, so that a repeated one joins the first: run and billed once, told to both."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ponder import tasks
from router.decisions import Event
from router.errors import DuplicateRequest
from router.queries import Query

Source = Callable[[], AsyncGenerator[Event, None]]


class InFlight:
    """Ids are unique per tenant, as in replies.py. Knows the requests of this router only."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], _Run] = {}

    def __len__(self) -> int:
        """Requests that are being answered."""
        return len(self._runs)

    async def follow(self, query: Query, start: Source) -> AsyncGenerator[Event, None]:
        """The events of the request from its first on; `start` begins it if it is not under way.

        It ends for all as it ends for the first, whose deadline counts, and is cancelled when the
        last one leaves. One that has failed is not joined, also while somebody still reads it.
        Raises RouterError; DuplicateRequest when the id is in use for another one.
        """
        key = (query.tenant.name, query.request_id)
        run = self._runs.get(key)
        if run is None or run.has_failed:
            run = self._runs[key] = _Run(query.fingerprint, start())
        elif run.fingerprint != query.fingerprint:
            raise DuplicateRequest("request_id is in use for a different request; use a new one")
        run.num_followers += 1
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    yield event
        finally:
            run.num_followers -= 1
            if not run.num_followers:
                if self._runs.get(key) is run:
                    del self._runs[key]
                await run.stop()


class _Run:
    """One request and what it has told so far."""

    def __init__(self, fingerprint: bytes, source: AsyncGenerator[Event, None]) -> None:
        self.fingerprint = fingerprint
        self.num_followers = 0
        self._told: list[Event] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._drive(source))
        self._task.add_done_callback(lambda _: self._announce())

    @property
    def has_failed(self) -> bool:
        task = self._task
        return task.done() and (task.cancelled() or task.exception() is not None)

    async def events(self) -> AsyncGenerator[Event, None]:
        num_seen = 0
        while True:
            while num_seen < len(self._told):
                yield self._told[num_seen]
                num_seen += 1
            if self._task.done():
                self._task.result()
                return
            await self._news.wait()

    async def stop(self) -> None:
        """Cancels it unless it has ended; returns when it has."""
        await tasks.stop([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at: whoever follows has been told

    async def _drive(self, source: AsyncGenerator[Event, None]) -> None:
        async with aclosing(source) as events:
            async for event in events:
                self._told.append(event)
                self._announce()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
