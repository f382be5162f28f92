"""Which workers there are: fixed addresses, and DNS names that stand for all their addresses."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger(__name__)
_SCHEME: Final = "dns:///"

Resolve = Callable[[str, int], Awaitable[Collection[str]]]
"""From host and port to host:port of every address. Raises OSError when nobody knows."""


@dataclass(frozen=True, slots=True)
class DnsName:
    """A name that may stand for several workers, such as that of a headless service."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_name(target: str) -> DnsName | None:
    """Of dns:///host:port; None for everything else, which is one worker."""
    if not target.startswith(_SCHEME):
        return None
    host, _, port = target.removeprefix(_SCHEME).rpartition(":")
    return DnsName(host, int(port))


async def resolve(host: str, port: int) -> frozenset[str]:
    """Asks the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return frozenset(
        _address(family, socket_address[0], port) for family, *_, socket_address in found
    )


async def follow(
    name: DnsName, resolve: Resolve, interval_s: float
) -> AsyncIterator[frozenset[str]]:
    """The addresses of the name, at first and after each change. Never ends by itself.

    A look-up that fails or finds nobody changes nothing: workers that are gone are noticed without
    it, and an outage of DNS must not take those that live.
    """
    known: frozenset[str] = frozenset()
    while True:
        found = await _look_up(name, resolve)
        if found and found != known:
            known = found
            yield known
        await asyncio.sleep(interval_s)


async def _look_up(name: DnsName, resolve: Resolve) -> frozenset[str]:
    try:
        return frozenset(await resolve(name.host, name.port))
    except OSError as error:
        _log.warning("DNS does not say who %s is: %s", name, error)
        return frozenset()


def _address(family: int, host: object, port: int) -> str:
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
