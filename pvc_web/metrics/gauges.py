"""Gauges that are declared once, with their labels and what they mean, and filled from one snapshot of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Declared = Mapping[str, tuple[str, str]]  # name -> its labels, separated by spaces, and its help


class Gauges(Collector):
    """Every declared gauge is shown, also one without a value now."""

    def __init__(self, *declared: Declared) -> None:
        self._families = {
            name: GaugeMetricFamily(name, text, labels=labels.split())
            for table in declared
            for name, (labels, text) in table.items()
        }

    def add(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge for these values of its labels. Raises KeyError for one that was not declared."""
        self._families[name].add_metric(labels, value)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()

    def text(self) -> bytes:
        """In Prometheus' text format, UTF-8."""
        return generate_latest(self)


def per_cent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
