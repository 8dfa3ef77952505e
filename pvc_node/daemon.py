"""The node daemon as a whole: what starts in which order, what runs side by side, and how it ends."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

from pvc_core.config import Config
from pvc_core.errors import PvcError
from pvc_core.model.node import Addresses, DaemonState, NodeRole
from pvc_core.ports import Session
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.capacity import CapacityReporter
from pvc_node.consoles import Consoles
from pvc_node.faults import FaultKeeper
from pvc_node.identity import Identity
from pvc_node.isolation import Isolation, listens
from pvc_node.keepalive import Keepalive, Troubles
from pvc_node.logserver import LogServer
from pvc_node.nodelog import Ring
from pvc_node.parts import BMC_INTERVAL, FENCERS, WORKERS, Outside, assemble
from pvc_node.sampler import Sampler
from pvc_node.storage import StorageReporter
from pvc_node.workers import Threads

log = logging.getLogger(__name__)

FENCE_INTERVAL = 0.5  # seconds between two looks for dead nodes
CAPACITY_INTERVAL = 30.0
ORDERLY = 20.0  # seconds in which actions under way may end when the daemon stops
STORAGE_INTERVAL = 5.0
CONSOLE_INTERVAL = 1.0
PRUNE_INTERVAL = 300.0


class Daemon:
    """``stop`` is set by whoever wants it to end, such as the handler of SIGTERM."""

    def __init__(self, config: Config, identity: Identity, outside: Outside, ring: Ring, stop: threading.Event) -> None:
        self._config = config
        self._outside = outside
        name, daemon, clock = config.node.name, config.daemon, outside.clock
        state = ClusterState(outside.store)
        self._state = state
        self.view = ClusterView(outside.store, with_xml=False, with_stats=False)
        self._workers = Threads(WORKERS)
        self._fencers = Threads(FENCERS)
        parts = assemble(config, identity, outside, state, self.view, self._workers, self._fencers)
        self.parts = parts
        self._sampler = Sampler(outside.hypervisor, outside.network, clock, config.timing.keepalive_interval)
        self._storage = StorageReporter(parts.leadership, state, self.view, clock, parts.disks.blocks)
        self._keepalive = Keepalive(
            name,
            state,
            parts.presence,
            self._sampler,
            clock,
            Troubles(
                network=lambda: parts.bridges.trouble or parts.floating.trouble,
                storage=lambda: self._storage.trouble,
            ),
            (daemon.state_directory, daemon.log_directory),
        )
        self._capacity = CapacityReporter(state, self.view, parts.leadership)
        self._faults = FaultKeeper(state, self.view, parts.leadership, clock, lambda: parts.bmcs.mute)
        self._consoles = Consoles(Path(daemon.console_directory), daemon.console_log_lines, clock)
        self._logserver = LogServer(
            Addresses.host(config.node.addresses.cluster) or "127.0.0.1",
            daemon.listen_port,
            config.secret(daemon.cluster_secret_file),
            ring,
            self._consoles,
        )
        self._stop = stop
        self._stop_deciding = threading.Event()
        self._broken = False
        self._threads: list[threading.Thread] = []
        self._deciding: threading.Thread | None = None
        self._holding: threading.Thread | None = None
        self._isolation: Isolation | None = None

    def run(self) -> bool:
        """Start, run until ``stop`` is set, and end in good order. False when a part of the daemon itself broke.

        Raises PvcError when it cannot start.
        """
        self._start()
        self._stop.wait()
        self._end()
        return not self._broken

    def _start(self) -> None:
        timing = self._config.timing
        self._state.prepare()
        self.parts.presence.register()
        self.view.start()
        self.parts.presence.appear(self.view, 3 * self._config.zookeeper.session_timeout)
        self._holding = self._loop("floating", self._hold)
        self.parts.bridges.apply(self.view.snapshot().networks)
        self._logserver.start()
        self._sampler.sample()
        self.parts.presence.change(DaemonState.RUN)
        self._keepalive.beat()
        self._deciding = self._loop("reconcile", self._decide)
        self._repeat("keepalive", self._keepalive.beat, timing.keepalive_interval)
        self._repeat("sampler", self._sampler.sample, timing.keepalive_interval)
        self._repeat("consoles", self._consoles.scan, CONSOLE_INTERVAL)
        self._repeat("pruner", self._prune, PRUNE_INTERVAL)
        if self._config.fencing.suicide_intervals:
            self._isolation = self._guard_isolation()
            self._repeat("isolation", self._isolation.look, timing.keepalive_interval)
        if self._config.node.role is NodeRole.COORDINATOR:
            self._repeat("storage", self._storage.report, max(STORAGE_INTERVAL, timing.keepalive_interval))
            self._repeat("bmcs", self.parts.bmcs.ask, BMC_INTERVAL)
            self._repeat("capacity", self._capacity.report, CAPACITY_INTERVAL)
            self._repeat("faults", self._faults.keep, timing.keepalive_interval)
            self._loop("fencer", self._fence)

    def _guard_isolation(self) -> Isolation:
        config, outside = self._config, self._outside
        limit = config.fencing.suicide_intervals * config.timing.keepalive_interval
        # The machines are stopped first; the watchdog is for a node that does not even manage that.
        watchdog = outside.watchdog(math.ceil(2 * limit)) if "watchdog" in config.fencing.methods else None
        return Isolation(
            config.node.name,
            limit,
            outside.store,
            self.view,
            outside.hypervisor,
            outside.clock,
            listens(config.daemon.listen_port),
            watchdog,
        )

    def _end(self) -> None:
        """Machines are left as they are: they run on without the daemon."""
        self.view.wake()
        if self._holding is not None:
            self._holding.join(self.parts.floating.interval)
        self._try("give up the floating addresses", lambda: self.parts.floating.give_up("the daemon stops"))
        self._try("show that it stops", lambda: self.parts.presence.change(DaemonState.SHUTDOWN))
        self._stop_deciding.set()
        self.view.wake()
        if self._deciding is not None:
            self._deciding.join(ORDERLY)
        if not self._workers.close(ORDERLY):
            log.warning("an action about a machine has not ended within %.0f s; the next start takes it up", ORDERLY)
        if not self._fencers.close(ORDERLY):
            log.warning("an action about a dead node has not ended; the next primary goes on with it")
        for thread in self._threads:
            thread.join(self._config.timing.keepalive_interval)
        self._try("report that it has stopped", self._keepalive.farewell)
        self._try("take its sign of life away", self.parts.presence.vanish)
        if self._isolation is not None:
            self._isolation.close()
        self._logserver.close()
        self._outside.store.close()
        self.parts.disks.close()
        self._outside.hypervisor.close()
        log.info("daemon: shutdown => stop: it was asked to")

    def _decide(self) -> None:
        revision = -1
        while not self._stop_deciding.is_set():
            revision = self.view.wait_change(revision, self._config.timing.keepalive_interval)
            if not self._stop_deciding.is_set():
                self.parts.reconciler.cycle()

    def _hold(self) -> None:
        revision = -1
        while not self._stop.is_set():
            revision = self.view.wait_change(revision, self.parts.floating.interval)
            if not self._stop.is_set():
                self.parts.floating.cycle(self.view.snapshot())

    def _fence(self) -> None:
        revision = -1
        while not self._stop_deciding.is_set():
            revision = self.view.wait_change(revision, FENCE_INTERVAL)
            if not self._stop_deciding.is_set():
                self.parts.fencer.tick()

    def _prune(self) -> None:
        if self._outside.store.session is Session.CONNECTED:
            self._consoles.prune(self.view.snapshot().vms)

    def _repeat(self, name: str, job: Callable[[], None], interval: float) -> None:
        """Run ``job`` every ``interval`` seconds from now on, on a thread of its own."""

        def loop() -> None:
            while not self._stop.wait(interval):
                job()

        self._threads.append(self._loop(name, loop))

    def _loop(self, name: str, loop: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                loop()
            except Exception:
                log.exception("the thread %s broke off, so the daemon stops", name)
                self._broken = True
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _try(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except PvcError as error:
            log.warning("the daemon could not %s: %s", what, error)
