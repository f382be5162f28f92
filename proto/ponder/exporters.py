"""Where metrics and spans go: to the exporters that OTEL_*_EXPORTER name, by default nowhere.

Everything else (endpoints, intervals, the sampler) the SDK reads from its own OTEL_* variables.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from ponder.environment import ConfigError

METRICS_EXPORTER = "OTEL_METRICS_EXPORTER"
TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"
EXPORTER_GROUPS: Mapping[str, str] = {
    METRICS_EXPORTER: "opentelemetry_metrics_exporter",
    TRACES_EXPORTER: "opentelemetry_traces_exporter",
}
"""The entry points among which the value of each variable is looked up."""


def meter_provider(environ: Mapping[str, str], service: str, instance: str = "") -> MeterProvider:
    """The provider that OTEL_METRICS_EXPORTER asks for. Raises ConfigError."""
    readers = [PeriodicExportingMetricReader(make()) for make in _makers(environ, METRICS_EXPORTER)]
    if not readers:
        return NoOpMeterProvider()
    return SdkMeterProvider(readers, resource=_resource(environ, service, instance))


def tracer_provider(environ: Mapping[str, str], service: str, instance: str = "") -> TracerProvider:
    """The provider that OTEL_TRACES_EXPORTER asks for. Raises ConfigError."""
    makers = _makers(environ, TRACES_EXPORTER)
    if not makers:
        return NoOpTracerProvider()
    provider = SdkTracerProvider(resource=_resource(environ, service, instance))
    for make in makers:
        provider.add_span_processor(BatchSpanProcessor(make()))
    return provider


def _makers(environ: Mapping[str, str], variable: str) -> list[Any]:
    names = [name.strip() for name in environ.get(variable, "none").split(",")]
    return [] if names == ["none"] else [_maker(variable, name) for name in names]


def _maker(variable: str, name: str) -> Any:
    found = entry_points(group=EXPORTER_GROUPS[variable], name=name)
    if not found:
        raise ConfigError(f"{variable}={name!r}: no such exporter is installed")
    return next(iter(found)).load()


def _resource(environ: Mapping[str, str], service: str, instance: str) -> Resource:
    """What the environment says of the process stands; ours fills the gaps."""
    told = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    ours = {}
    if "OTEL_SERVICE_NAME" not in environ and f"{SERVICE_NAME}=" not in told:
        ours[SERVICE_NAME] = service
    if instance and f"{SERVICE_INSTANCE_ID}=" not in told:
        ours[SERVICE_INSTANCE_ID] = instance
    return Resource.create(ours)
