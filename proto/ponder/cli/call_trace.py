"""The span of a call that the command line makes, when OTEL_TRACES_EXPORTER asks for one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ponder.environment import ConfigError

_OFF = "none"


@contextmanager
def call_span(name: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Metadata to send along, which makes what the call causes part of the span's trace.

    Raises click.ClickException when no such exporter is installed.
    """
    if os.environ.get("OTEL_TRACES_EXPORTER", _OFF) == _OFF:
        yield ()
        return
    # Here: the SDK takes a fifth of a second to import, which others need not wait for.
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

    from ponder.exporters import tracer_provider
    from ponder.tracing import Tracing

    try:
        provider = tracer_provider(os.environ, "ponder-cli")
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    try:
        with Tracing(provider).begin(name, SpanKind.CLIENT) as trace:
            yield trace.metadata
    finally:
        if isinstance(provider, TracerProvider):
            provider.shutdown()
