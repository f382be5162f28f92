"""What the commands print for programs: one JSON document on stdout; and how they fail."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click
from google.protobuf import json_format
from google.protobuf.message import Message

from ponder.cli.client import RequestFailed

T = TypeVar("T")


def as_dict(message: Message) -> dict[str, Any]:
    """Protobuf's JSON form, with the field names of the .proto files and zeros written out."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def print_json(document: Any) -> None:
    """To stdout, as one line."""
    click.echo(json.dumps(document, ensure_ascii=False))


def run_call(call: Coroutine[Any, Any, T], *, as_json: bool) -> T:
    """Runs a call to the end. A failed one is told in one line and exits with status 1."""
    try:
        return asyncio.run(call)
    except RequestFailed as error:
        _fail(error, as_json)


def _fail(error: RequestFailed, as_json: bool) -> NoReturn:
    if as_json:
        details = {"code": error.code, "message": error.message, "remedy": error.remedy}
        print_json({"error": details})
    raise click.ClickException(str(error)) from error
