"""`ponder ask`: one question; the answer goes to stdout, everything else to stderr."""

from collections.abc import AsyncIterable

import click

from ponder.cli.call_trace import call_span
from ponder.cli.client import Connection, RequestFailed, reasoner
from ponder.cli.narrator import Narrator
from ponder.cli.output import as_dict, print_json, run_call
from ponder.cli.request_options import request_options
from ponder.v1.reasoner_pb2 import ReasonEvent, ReasonReply, ReasonRequest

_EPILOG = """\b
Examples:
  ponder ask "What is the capital of France?"
  ponder ask "Reach 24 using each of 3, 5, 6 and 8 once." --show-thinking
  ponder ask "Solve 3x + 5 = 20" --budget 50 --temperature 0
  ponder ask "Reach 87 using each of 2, 7, 9, 11 and 12 once." --max-tier complex
  ponder ask - --json < question.txt | jq .usage
"""


@click.command(epilog=_EPILOG)
@request_options
@click.option("--show-thinking", is_flag=True, help="Print the thinking too, on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print the reply as one JSON document.")
def ask(connection: Connection, request: ReasonRequest, show_thinking: bool, as_json: bool) -> None:
    """Ask QUESTION: shows the decision, the progress, then the answer.

    A QUESTION of - is read from standard input.
    """
    request.include_thinking = show_thinking
    narrator = Narrator(answer_to_stdout=not as_json)
    reply = run_call(_ask(connection, request, narrator), as_json=as_json)
    if as_json:
        print_json(as_dict(reply))


async def _ask(connection: Connection, request: ReasonRequest, narrator: Narrator) -> ReasonReply:
    async with reasoner(connection) as stub:
        with call_span("ask") as traced:
            metadata = (*connection.metadata, *traced)
            events = stub.ReasonStream(request, timeout=connection.timeout_s, metadata=metadata)
            return await _reply(events, narrator)


async def _reply(events: AsyncIterable[ReasonEvent], narrator: Narrator) -> ReasonReply:
    try:
        async for event in events:
            narrator.tell(event)
            if event.WhichOneof("event") == "final":
                return event.final
    finally:
        narrator.end_lines()
    raise RequestFailed("DATA_LOSS", "the stream ended without a reply", "see the router's log")
