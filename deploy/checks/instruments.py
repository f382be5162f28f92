"""The instruments that router and workers create, and the names Prometheus knows them by.

Names are those of the collector's prometheus exporter, which adds unit and type, see
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter

from ponder.v1.worker_pb2 import Load
from router.telemetry import Telemetry
from workers.telemetry import WorkerTelemetry

_UNITS = MappingProxyType({"": "", "s": "seconds", "By": "bytes"})
_PER_UNITS = MappingProxyType({"": "", "s": "per_second"})
_SERIES = MappingProxyType({"histogram": ("_bucket", "_sum", "_count")})


@dataclass(frozen=True, slots=True)
class Instrument:
    """`kind` is counter, gauge or histogram; `unit` is written as in UCUM; `buckets` are the upper
    bounds of a histogram's.
    """

    name: str
    unit: str
    kind: str
    buckets: tuple[float, ...] = ()

    @property
    def metric(self) -> str:
        """What Prometheus calls it. Raises KeyError for a unit that is not known here."""
        parts = re.findall(r"[A-Za-z0-9]+", self.name)
        main, _, per = re.sub(r"\{[^}]*\}", "", self.unit).partition("/")
        parts += [unit for unit in (_UNITS[main], _PER_UNITS[per]) if unit and unit not in parts]
        if self.kind == "counter":
            parts = [part for part in parts if part != "total"] + ["total"]
        return "_".join(parts)

    @property
    def series(self) -> tuple[str, ...]:
        """The names that an expression may use."""
        return tuple(self.metric + end for end in _SERIES.get(self.kind, ("",)))


def instruments() -> list[Instrument]:
    """Every one, found by creating them all: with a name twice in it if a name is used twice."""
    provider = _Recorder()
    Telemetry(provider)
    WorkerTelemetry("worker", "easy", provider).observe(Load)
    return provider.created


class _Recorder(MeterProvider):
    """Notes what is created. Nothing is measured."""

    def __init__(self) -> None:
        self.created: list[Instrument] = []

    def get_meter(self, name: str, *_: Any, **__: Any) -> Meter:
        return _RecordingMeter(name, self.created)


class _RecordingMeter(NoOpMeter):
    def __init__(self, name: str, created: list[Instrument]) -> None:
        super().__init__(name)
        self._created = created

    def create_counter(self, name: str, unit: str = "", *rest: Any, **options: Any) -> Any:
        self._created.append(Instrument(name, unit, "counter"))
        return super().create_counter(name, unit, *rest, **options)

    def create_gauge(self, name: str, unit: str = "", *rest: Any, **options: Any) -> Any:
        self._created.append(Instrument(name, unit, "gauge"))
        return super().create_gauge(name, unit, *rest, **options)

    def create_histogram(self, name: str, unit: str = "", *rest: Any, **options: Any) -> Any:
        buckets = tuple(options.get("explicit_bucket_boundaries_advisory", ()))
        self._created.append(Instrument(name, unit, "histogram", buckets))
        return super().create_histogram(name, unit, *rest, **options)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, unit: str = "", *rest: Any
    ) -> Any:
        self._created.append(Instrument(name, unit, "counter"))
        return super().create_observable_counter(name, callbacks, unit, *rest)

    def create_observable_gauge(
        self, name: str, callbacks: Any = None, unit: str = "", *rest: Any
    ) -> Any:
        self._created.append(Instrument(name, unit, "gauge"))
        return super().create_observable_gauge(name, callbacks, unit, *rest)


def known_series(found: list[Instrument]) -> Iterator[str]:
    """Of all of them."""
    for instrument in found:
        yield from instrument.series
