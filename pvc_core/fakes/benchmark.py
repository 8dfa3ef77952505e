"""Measurements that are made up, and their results in memory."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.errors import Conflict, DriverError
from pvc_core.model.benchmark import BenchmarkResult, BenchmarkTest, Figures, Latency


class FakeBench:
    """See ``pvc_core.ports.Bench``. ``broken`` is the name of a test that fails."""

    def __init__(self) -> None:
        self.broken = ""
        self.measured: list[str] = []

    def fill(self, pool: str, volume: str, tick: Callable[[float], None]) -> None:
        tick(0.0)

    def measure(
        self, pool: str, volume: str, test: BenchmarkTest, seconds: int, tick: Callable[[float], None]
    ) -> Figures:
        tick(0.5)
        if test.name == self.broken:
            raise DriverError("fio: out of luck")
        self.measured.append(test.name)
        return Figures(4096.0 * 1000, 1000.0, Latency(mean=900.0), 4096 * 1000 * seconds, float(seconds))


class FakeResults:
    """See ``pvc_core.ports.BenchmarkResults``."""

    def __init__(self) -> None:
        self.kept: dict[str, BenchmarkResult] = {}

    def has(self, job: str) -> bool:
        return job in self.kept

    def add(self, job: str, result: BenchmarkResult) -> None:
        if job in self.kept:
            raise Conflict(f"there is a benchmark {job} already")
        self.kept[job] = result
