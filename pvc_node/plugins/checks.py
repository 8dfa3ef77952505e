"""The health plugins and how they are run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pvc_core.model.node import PluginResult

log = logging.getLogger(__name__)

LOAD_PER_CPU = 2.0
DISK_FULL = ((0.95, 50), (0.90, 10))  # share used -> delta
SLOW_WRITE = 1.0  # seconds
BROKEN_PLUGIN = 10


@dataclass(frozen=True, slots=True)
class Health:
    """What the plugins look at. Messages are empty where all is well."""

    load: float
    cpu_count: int
    directories: tuple[str, ...]
    libvirt: str
    network: str
    storage: str
    write_seconds: float  # that the last write to ZooKeeper took


class Finding(NamedTuple):
    """``delta`` per cent are subtracted from the node's health; 0 where all is well."""

    delta: int
    message: str


def _load(health: Health) -> Finding:
    limit = LOAD_PER_CPU * health.cpu_count
    message = f"load average {health.load:.2f} on {health.cpu_count} CPUs"
    return Finding(10, f"{message}, above {limit:.0f}") if health.load > limit else Finding(0, message)


def _disk(health: Health) -> Finding:
    worst = Finding(0, "enough room")
    for directory in health.directories:
        status = os.statvfs(directory)
        used = 1 - status.f_bavail / status.f_blocks if status.f_blocks else 0.0
        delta = next((delta for limit, delta in DISK_FULL if used >= limit), 0)
        if delta > worst.delta:
            worst = Finding(delta, f"the file system of {directory} is {used:.0%} full")
    return worst


def _libvirt(health: Health) -> Finding:
    return Finding(50, health.libvirt) if health.libvirt else Finding(0, "libvirt answers")


def _network(health: Health) -> Finding:
    return Finding(50, health.network) if health.network else Finding(0, "the bridges are as wanted")


def _storage(health: Health) -> Finding:
    return Finding(50, health.storage) if health.storage else Finding(0, "no trouble seen")


def _zookeeper(health: Health) -> Finding:
    message = f"the last write took {1000 * health.write_seconds:.0f} ms"
    return Finding(10 if health.write_seconds > SLOW_WRITE else 0, message)


PLUGINS: dict[str, Callable[[Health], Finding]] = {
    "disk": _disk,
    "libvirt": _libvirt,
    "load": _load,
    "network": _network,
    "storage": _storage,
    "zookeeper": _zookeeper,
}


def run(health: Health, now: float) -> tuple[PluginResult, ...]:
    """Every plugin's result. One that breaks is a finding itself, and does not keep the others from running."""
    results = []
    for name, plugin in PLUGINS.items():
        try:
            delta, message = plugin(health)
        except (OSError, ValueError, ArithmeticError) as error:
            delta, message = BROKEN_PLUGIN, f"the plugin itself failed: {error}"
        results.append(PluginResult(name, int(now), delta, message))
    return tuple(results)
