"""`ponder spans`: where the time of one request went, from a file of spans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ponder.cli import variables
from ponder.cli.output import print_json
from ponder.cli.words import bar

if TYPE_CHECKING:
    from ponder.cli.waterfall import Row

_BAR_WIDTH = 40

_EPILOG = """\b
Examples:
  export OTEL_TRACES_EXPORTER=ponder_file PONDER_SPAN_FILE=spans.jsonl
  ponder up                                  in one terminal, and in a second one:
  ponder ask "Reach 24 using each of 3, 5, 6 and 8 once."
  ponder spans                               the newest request
  ponder spans REQUEST_ID --svg request.svg

Both terminals need the variables: the client begins the trace. Spans arrive a few seconds late.
A deployment sends them by OTLP instead (OTEL_TRACES_EXPORTER=otlp_proto_grpc), to any tracing tool.
"""


@click.command(epilog=_EPILOG)
@click.argument("wanted", metavar="[REQUEST_ID|TRACE_ID]", required=False)
@click.option(
    "--spans",
    "path",
    envvar=variables.SPAN_FILE,
    show_envvar=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that the exporter ponder_file wrote.",
)
@click.option(
    "--svg",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw it into this file instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the spans as one JSON document.")
def spans(wanted: str | None, path: Path, picture: Path | None, as_json: bool) -> None:
    """Show the spans of one request as a waterfall: router, workers, and why each segment ended."""
    # Here: the SDK takes a fifth of a second to import, which other commands need not wait for.
    from ponder.cli.waterfall import find_trace, rows
    from ponder.cli.waterfall_svg import svg
    from ponder.span_file import read_spans

    found = rows(find_trace(read_spans(path), wanted))
    if not found:
        asked = f"no request {wanted}" if wanted else "no request"
        raise click.ClickException(f"{path} holds {asked}: it may not be over, or not be sampled")
    if picture is not None:
        ids = (row.span.attributes.get("ponder.request_id") for row in found)
        picture.write_text(svg(f"request {next(filter(None, ids), '')}", found), encoding="utf-8")
    if as_json:
        print_json([_document(row) for row in found])
    elif picture is None:
        _draw(found)


def _document(row: Row) -> dict[str, Any]:
    return {
        "name": row.span.name,
        "depth": row.depth,
        "start_ms": row.start_ms,
        "duration_ms": row.duration_ms,
        "service": row.span.service,
        "is_error": row.span.is_error,
        "attributes": dict(row.span.attributes),
    }


def _draw(found: Sequence[Row]) -> None:
    total_ms = max(row.start_ms + row.duration_ms for row in found) or 1.0
    for row in found:
        before = " " * int(row.start_ms / total_ms * _BAR_WIDTH)
        drawn = (before + (bar(row.duration_ms / total_ms, _BAR_WIDTH) or "|")).ljust(_BAR_WIDTH)
        label = "  " * row.depth + row.label
        mark = "!" if row.span.is_error else " "
        click.echo(f"{label:<26}{mark} {drawn} {row.duration_ms:9.2f} ms  {row.note}".rstrip())
