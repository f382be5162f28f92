"""`ponder top`: what a router sees now and did in the last minute, live in a terminal."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import click
import grpc
from rich.console import Console
from rich.live import Live

from ponder import rpc
from ponder.cli import variables
from ponder.cli.client import Connection, RequestFailed, connected, dialler, failure
from ponder.cli.output import as_dict, print_json, run_call
from ponder.cli.request_options import target_option, tls_option
from ponder.cli.top_view import picture
from ponder.tls import Line
from ponder.v1 import operations_pb2 as pb
from ponder.v1 import operations_pb2_grpc

_INTERVAL_S = 1.0
_TIMEOUT_S = 3.0
_PIPE_WIDTH = 140
# gRPC would wait up to two minutes before it tries again.
_BACKOFF = (("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 1_000))

_EPILOG = """\b
Examples:
  ponder top                              of the stack that `ponder up` started; Ctrl-C ends
  ponder top --once                       one picture, then end; so too when not on a terminal
  ponder top --json | jq '.models[].tiers[] | {tier, requests, budget_hits}'
  kubectl -n ponder port-forward deploy/router 8800    then `ponder top`, of that one router

\b
workers   as this router hears from them once a second; "to come": predicted thinking tokens of
          what it sent there
tiers     by the tier decided on first, over the last minute. hit: the first budget did not suffice.
          kept and promised: how often first budgets that the prediction alone decided sufficed
          over the last day, and how often that was predicted; all routers together, from Redis
drift     kept below promised by more than chance: warn from 2 points, alarm from 5. Whether prompts
          have moved tells `ponder traces drift`
"""


@click.command(epilog=_EPILOG)
@target_option
@click.option(
    "--api-key",
    envvar=variables.API_KEY,
    show_envvar=True,
    help="The operator's key, if the router asks for one.",
)
@tls_option
@click.option("--once", is_flag=True, help="Print one picture and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one snapshot as JSON and end.")
def top(target: str, api_key: str | None, tls_dir: str, once: bool, as_json: bool) -> None:
    """Show live what a router does: workers, tiers, coverage, classifier, tenants, gaps.

    A worker or a Redis that is away is said; so is a router that stops answering.
    """
    connection = Connection(target=target, api_key=api_key, timeout_s=_TIMEOUT_S, tls_dir=tls_dir)
    if as_json:
        print_json(_document(connection, run_call(_one(connection), as_json=True)))
    elif once or not sys.stdout.isatty():
        status = run_call(_one(connection), as_json=False)
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        Console(width=width, highlight=False).print(picture(target, status))
    else:
        _follow(connection)


async def _one(connection: Connection) -> pb.StatusReply:
    """Raises RequestFailed."""
    async with connected(connection) as channel:
        return await _ask(channel, connection)


def _follow(connection: Connection) -> None:
    try:
        asyncio.run(_show(connection))
    except RequestFailed as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return


async def _show(connection: Connection) -> None:
    """Until it is cancelled. What was seen last stays while the router does not answer."""
    last, seen_s = pb.StatusReply(), time.monotonic()
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        async for seen in statuses(connection):
            trouble = ""
            if isinstance(seen, RequestFailed):
                trouble = f"{seen}; this was seen {time.monotonic() - seen_s:.0f} s ago"
            else:
                last, seen_s = seen, time.monotonic()
            live.update(picture(connection.target, last, trouble), refresh=True)


async def statuses(
    connection: Connection, interval_s: float = _INTERVAL_S
) -> AsyncGenerator[pb.StatusReply | RequestFailed, None]:
    """One after each interval. The channel connects again by itself when the router is back, and is
    opened anew when the certificates have changed. Raises RequestFailed.
    """
    line = Line(dialler(connection), connection.target, (*rpc.channel_options(), *_BACKOFF))
    try:
        while True:
            try:
                yield await _ask(line.channel, connection)
            except RequestFailed as error:
                yield error
            await asyncio.sleep(interval_s)
            line.renew()
    finally:
        await line.close()


async def _ask(channel: grpc.aio.Channel, connection: Connection) -> pb.StatusReply:
    stub: Any = operations_pb2_grpc.OperationsStub(channel)
    try:
        reply: pb.StatusReply = await stub.Status(
            pb.StatusRequest(), timeout=connection.timeout_s, metadata=connection.metadata
        )
    except grpc.aio.AioRpcError as error:
        raise failure(error) from error
    return reply


def _document(connection: Connection, status: pb.StatusReply) -> dict[str, Any]:
    return {"target": connection.target, "at_s": time.time(), **as_dict(status)}
