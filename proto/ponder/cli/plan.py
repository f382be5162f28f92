"""`ponder plan`: the decision for a question, without asking it."""

import click

from ponder.cli.client import Connection, reasoner
from ponder.cli.output import as_dict, print_json, run_call
from ponder.cli.request_options import request_options
from ponder.cli.words import decision_table
from ponder.v1.reasoner_pb2 import Decision, PlanRequest, ReasonRequest

_EPILOG = """\b
Examples:
  ponder plan "What is the capital of France?"
  ponder plan "Reach 24 using each of 3, 5, 6 and 8 once." --coverage 0.99
  ponder plan "Solve 3x + 5 = 20" --json | jq .survival
"""


@click.command(epilog=_EPILOG)
@request_options
@click.option("--json", "as_json", is_flag=True, help="Print the Decision as one JSON document.")
def plan(connection: Connection, request: ReasonRequest, as_json: bool) -> None:
    """Show how much thinking QUESTION would be given, and why. No worker is touched.

    A QUESTION of - is read from standard input.
    """
    decision = run_call(_plan(connection, request), as_json=as_json)
    if as_json:
        print_json(as_dict(decision))
    else:
        click.echo(decision_table(decision))


async def _plan(connection: Connection, request: ReasonRequest) -> Decision:
    async with reasoner(connection) as stub:
        reply = await stub.Plan(
            PlanRequest(request=request),
            timeout=connection.timeout_s,
            metadata=connection.metadata,
        )
        return reply.decision
