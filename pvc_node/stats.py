"""What the node's kernel tells of its load and memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from pvc_core.model.node import NodeMemory

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not change while the node is up."""

    cpu_count: int
    arch: str
    os: str
    kernel: str


def facts() -> HostFacts:
    system = os.uname()
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = system.sysname
    return HostFacts(os.cpu_count() or 1, system.machine, name, system.release)


def load_average(proc: Path = PROC) -> float:
    """Of the last five minutes."""
    return float((proc / "loadavg").read_text().split()[1])


def memory(proc: Path = PROC) -> NodeMemory:
    """``free`` is what new processes can have, caches given back included (the kernel's MemAvailable)."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    total, free = (int(fields[name].split()[0]) // 1024 for name in ("MemTotal", "MemAvailable"))
    return NodeMemory(total, total - free, free)


class CpuMeter:
    """Utilisation between two calls."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._last = self._read()

    def percent(self) -> float:
        """Share of all CPUs that was busy since the last call, 0 to 100."""
        (old_busy, old_total), self._last = self._last, self._read()
        busy, total = self._last
        return round(100 * (busy - old_busy) / (total - old_total), 2) if total > old_total else 0.0

    def _read(self) -> tuple[int, int]:
        """Busy and total ticks since boot; the first line of /proc/stat, see proc(5). Waiting for I/O is not busy, and
        guest time is part of user time already."""
        with (self._proc / "stat").open() as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        total = sum(ticks)
        return total - ticks[3] - ticks[4], total
