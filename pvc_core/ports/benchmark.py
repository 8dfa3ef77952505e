"""What measures a pool, and where the results are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pvc_core.model.benchmark import BenchmarkResult, BenchmarkTest, Figures


class Bench(Protocol):
    def fill(self, pool: str, volume: str, tick: Callable[[float], None]) -> None:
        """Write all of a volume once, so that reading it later asks the disks. ``tick`` hears several times a second
        what part is done, from 0 to 1; what it raises ends the work at once."""
        ...

    def measure(
        self, pool: str, volume: str, test: BenchmarkTest, seconds: int, tick: Callable[[float], None]
    ) -> Figures:
        """Do one measurement for so many seconds. Raises DriverError with the program's own words."""
        ...


class BenchmarkResults(Protocol):
    def has(self, job: str) -> bool: ...

    def add(self, job: str, result: BenchmarkResult) -> None:
        """Keep a result under a name that no other has. Conflict when one has it."""
        ...
