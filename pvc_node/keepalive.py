"""The keepalive: the sign of life, and all that the node reports of itself in one write an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pvc_core import __version__
from pvc_core.errors import PvcError
from pvc_core.model.node import DaemonState, NodeStats
from pvc_core.ports import Clock, Session
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_node import stats
from pvc_node.plugins import checks
from pvc_node.presence import Presence
from pvc_node.sampler import Sampler
from pvc_node.trouble import Trouble


@dataclass(frozen=True)
class Troubles:
    """Where the parts tell why they fail; empty where they are well."""

    network: Callable[[], str]
    storage: Callable[[], str]


class Keepalive:
    """Used by one thread at a time."""

    def __init__(
        self,
        node: str,
        state: ClusterState,
        presence: Presence,
        sampler: Sampler,
        clock: Clock,
        troubles: Troubles,
        directories: tuple[str, ...],
    ) -> None:
        self._key = records.stats(node)
        self._state = state
        self._presence = presence
        self._sampler = sampler
        self._clock = clock
        self._troubles = troubles
        self._directories = directories
        self._facts = stats.facts()
        self._cpu = stats.CpuMeter()
        self._write_seconds = 0.0
        self._trouble = Trouble("keepalive")

    def beat(self) -> None:
        """Renew the sign of life where it is gone, and write the statistics. Without a connection nothing is done: the
        node's machines run on, and the next beat tries again."""
        if self._state.store.session is not Session.CONNECTED:
            self._trouble.begin("there is no connection to ZooKeeper")
            return
        try:
            self._presence.keep()
            self._write(self._presence.daemon_state)
            self._trouble.end()
        except PvcError as error:
            self._trouble.begin(error)

    def farewell(self) -> None:
        """The last beat of a daemon that stops in good order. Raises Unavailable."""
        self._write(DaemonState.STOP)

    def _write(self, daemon_state: DaemonState) -> None:
        report = self._report(daemon_state)
        began = self._clock.monotonic()
        self._state.put(self._key, report)
        self._write_seconds = self._clock.monotonic() - began

    def _report(self, daemon_state: DaemonState) -> NodeStats:
        now = self._clock.now()
        load = stats.load_average()
        health = checks.Health(
            load=load,
            cpu_count=self._facts.cpu_count,
            directories=self._directories,
            libvirt=self._sampler.libvirt_trouble,
            network=self._troubles.network(),
            storage=self._troubles.storage(),
            write_seconds=self._write_seconds,
        )
        return NodeStats(
            time=now,
            daemon_state=daemon_state,
            version=__version__,
            arch=self._facts.arch,
            os=self._facts.os,
            kernel=self._facts.kernel,
            cpu_count=self._facts.cpu_count,
            load=load,
            cpu_utilization=self._cpu.percent(),
            memory=stats.memory(),
            plugins=checks.run(health, now),
            interfaces=self._sampler.interfaces,
            domains=self._sampler.domains,
        )
