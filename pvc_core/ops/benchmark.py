"""How fast a pool is: a volume is made for it, filled, read and written in several ways, and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.benchmark import TESTS, BenchmarkResult, BenchmarkTest, NodeLoad, TestResult
from pvc_core.model.node import NodeStats
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.steps import change
from pvc_core.ops.volume_steps import check_room, remove_image, require_pool

VOLUME = "pvc-benchmark"  # PVC has no record of it; what a killed run left is found by this name
JOB = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9:._-]{0,99}")
LONGEST = 3600  # seconds of one measurement
SMALLEST, LARGEST = 256 << 20, 1 << 40  # bytes of the volume


@dataclass(frozen=True)
class Benchmark(Operation):
    """``seconds`` is how long each measurement takes, ``size`` the bytes of the volume."""

    pool: str
    job: str
    seconds: int = 60
    size: int = 8 << 30

    task_name = "storage.benchmark"
    summary = "Measure how fast a pool is"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        # Two at once would measure each other.
        return ("benchmark:storage", f"volume:{self.pool}:{VOLUME}")

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.pool

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.pool)
        if not JOB.fullmatch(self.job):
            raise BadRequest(f"{self.job!r} cannot name a benchmark: use letters, digits, dots, colons and dashes")
        if not 1 <= self.seconds <= LONGEST:
            raise BadRequest(f"a measurement takes 1 to {LONGEST} seconds, not {self.seconds}")
        if not SMALLEST <= self.size <= LARGEST:
            raise BadRequest(f"the volume has {SMALLEST} to {LARGEST} bytes, not {self.size}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        tools = run.tools
        if tools.benchmarks.has(self.job):
            raise Conflict(f"there is a benchmark {self.job} already: choose another name")
        run.plan(2 + len(TESTS))
        run.step(f"Filling a volume of {self.size >> 20} MiB in pool {self.pool}")
        check_room(run, self.pool, self.size, force=False)
        remove_image(run, self.pool, VOLUME)
        change(
            run,
            lambda: tools.blocks.create(self.pool, VOLUME, self.size),
            f"volume {self.pool}/{VOLUME} is in Ceph and has no record",
            lambda: remove_image(run, self.pool, VOLUME),
        )
        started = tools.clock.now()
        tools.bench.fill(self.pool, VOLUME, lambda _: run.checkpoint())
        tests = tuple(self._measure(run, test) for test in TESTS)
        run.step("Keeping the result")
        node = tools.config.node.name
        tools.benchmarks.add(self.job, BenchmarkResult(self.pool, node, started, self.size, self.seconds, tests))
        run.commit_point()
        remove_image(run, self.pool, VOLUME)
        return {"message": f"Pool {self.pool} is measured: see pvc storage benchmark info {self.job}", "job": self.job}

    def _measure(self, run: Run, test: BenchmarkTest) -> TestResult:
        run.step(f"Measuring {test.name}")
        watch = Watch(lambda: run.snapshot)

        def tick(share: float) -> None:
            run.checkpoint()
            run.part(round(100 * share), 100)
            watch.look()

        figures = run.tools.bench.measure(self.pool, VOLUME, test, self.seconds, tick)
        watch.look()
        return TestResult(test, figures, watch.loads())


class Watch:
    """What the nodes report of themselves while something goes on."""

    def __init__(self, snapshot: Callable[[], ClusterSnapshot]) -> None:
        self._snapshot = snapshot
        self._seen: dict[str, list[NodeStats]] = {}
        self.look()

    def look(self) -> None:
        for name, entry in self._snapshot().nodes.items():
            seen = self._seen.setdefault(name, [])
            if entry.stats is not None and (not seen or seen[-1].time != entry.stats.time):
                seen.append(entry.stats)

    def loads(self) -> dict[str, NodeLoad]:
        """Of each node that has reported since the beginning."""
        return {name: node_load(seen) for name, seen in self._seen.items() if len(seen) > 1}


def node_load(reports: list[NodeStats]) -> NodeLoad:
    """Of two reports or more; what the first says was before, but for its counters, from which the others count."""
    since = reports[1:]
    elapsed = max(reports[-1].time - reports[0].time, 1e-3)
    cpu = [report.cpu_utilization for report in since]
    return NodeLoad(
        cpu_mean=sum(cpu) / len(cpu),
        cpu_max=max(cpu),
        memory_max=max(report.memory.used for report in since),
        received=_growth(reports, lambda card: card.rx_bytes) / elapsed,
        sent=_growth(reports, lambda card: card.tx_bytes) / elapsed,
        samples=len(since),
    )


def _growth(reports: list[NodeStats], counter: Callable[[Any], int]) -> int:
    first, last = reports[0].interfaces, reports[-1].interfaces
    return sum(max(0, counter(last[name]) - counter(first[name])) for name in first.keys() & last.keys())
