"""One server of the simulated cluster, and the node daemon that lives on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvc_core.config import Config, NodeConfig, PostgresqlConfig, RedisConfig, TimingConfig, ZookeeperConfig
from pvc_core.errors import PvcError
from pvc_core.model.node import Addresses, Bmc, DaemonState, DomainStats, NodeRole, NodeStats, PluginResult
from pvc_core.ports import PowerState, Session, Watchdog
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_node.identity import Identity
from pvc_node.isolation import Isolation
from pvc_node.parts import BMC_INTERVAL, FENCERS, WORKERS, Outside, assemble
from tests.records import node_stats
from tests.simulation.hypervisor import SimHypervisor
from tests.simulation.layout import NodePlan
from tests.simulation.loop import Pool, Process, Thread
from tests.simulation.ports import FLOATING, HostClock, SimBlocks, SimNetwork, SimPower
from tests.simulation.store import SESSION_TIMEOUT
from tests.simulation.view import SimView

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMING = TimingConfig(vm_shutdown_timeout=20.0)
RESTART = 2.0  # seconds until a daemon that gave up is started again
FENCE_INTERVAL = 1.0


@dataclass
class Links:
    """The networks that reach a host."""

    cluster: bool = True
    storage: bool = True
    bmc: bool = True


class Host:
    def __init__(self, world: World, plan: NodePlan, number: int) -> None:
        self.world = world
        self.plan = plan
        self.name = plan.name
        self.addresses = Addresses(f"10.0.0.{number}/24", f"10.0.1.{number}/24", f"10.0.2.{number}/24")
        self.storage_address = Addresses.host(self.addresses.storage)
        self.clock = HostClock(lambda: world.loop.time)
        self.links = Links()
        self.bmc_powered = True
        self.powered = True
        self.booted = True
        self.paused = False
        self.resumed = -60.0  # when it, or a process of it, last was
        self.zookeeper_cut = False
        self.ceph_slow = False
        self.daemon_held = False  # nobody starts it
        self.boot = 1
        self.starts = 0
        self.starts_of_boot = 0
        self.frozen: list[tuple[Process, Callable[[], object]]] = []
        self.system = Process(self, f"{self.name} system")
        self.hypervisor = SimHypervisor(world.rack, self)
        self.network = SimNetwork(self)
        self.daemon: Daemon | None = None
        self.workers: list[Process] = []  # of tasks

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot{self.boot}"

    @property
    def serves(self) -> bool:
        """Whether the servers that run on it (ZooKeeper's, Ceph's monitor) can."""
        return self.booted and not self.paused

    def reaches(self, other: Host) -> bool:
        """Whether they can talk in the cluster network."""
        return self.links.cluster and self.serves and other.links.cluster and other.serves

    def answers(self, address: str) -> bool:
        """Whether the daemon of the host at this address in the cluster network takes connections from here."""
        others = [host for host in self.world.hosts.values() if Addresses.host(host.addresses.cluster) == address]
        return all(self.reaches(host) and host.daemon is not None and host.daemon.alive for host in others)

    @property
    def alone(self) -> bool:
        """Whether it hears of no coordinator but itself."""
        others = [host for host in self.world.coordinators if host is not self]
        return not any(self.answers(Addresses.host(host.addresses.cluster)) for host in others)

    @property
    def config(self) -> Config:
        bmc = Bmc(f"bmc-{self.name}", "admin") if self.plan.bmc else None
        role = NodeRole.COORDINATOR if self.plan.coordinator else NodeRole.HYPERVISOR
        return Config(
            node=NodeConfig(self.name, role, self.addresses, bmc=bmc, site=self.plan.site),
            zookeeper=ZookeeperConfig(("zk:2181",), SESSION_TIMEOUT),
            postgresql=PostgresqlConfig(("db",)),
            redis=RedisConfig("redis://r"),
            timing=TIMING,
            fencing=self.world.layout.fencing,
            floating_addresses=FLOATING,
        )

    def start_daemon(self) -> None:
        if self.booted and not self.daemon_held and (self.daemon is None or not self.daemon.alive):
            self.starts += 1
            self.starts_of_boot += 1
            self.world.rules.boots[self.name, self.starts] = self.boot
            self.daemon = Daemon(self)
            self.world.connect()

    def kill_daemon(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.world.connect()

    def cut_power(self) -> None:
        if not self.powered:
            return
        self.powered = self.booted = self.paused = False
        self.world.power.states[self.name] = PowerState.OFF
        self.system.kill()
        self.kill_daemon()
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
        self.frozen.clear()
        self.hypervisor.lose_power()
        self.network = SimNetwork(self)
        self.world.note(f"{self.name}: power is off")
        self.world.connect()

    def power_on(self) -> None:
        if self.powered:
            return
        self.powered = self.bmc_powered = True
        self.world.power.states[self.name] = PowerState.ON
        self.boot += 1
        self.starts_of_boot = 0
        self.system = Process(self, f"{self.name} system")
        self.world.note(f"{self.name}: power is on")
        self.world.connect()
        self.world.loop.at(self.world.loop.random.uniform(3.0, 20.0), self._start_services, self.system)

    def _start_services(self) -> None:
        self.booted = True
        self.world.connect()
        self.world.loop.at(self.world.loop.random.uniform(0.5, 3.0), self.start_daemon, self.system)

    def pause(self) -> None:
        if self.powered and not self.paused:
            self.paused = True
            self.world.connect()

    def resume(self) -> None:
        if not self.paused:
            return
        self.paused = False
        self._go_on()

    def thaw(self, process: Process) -> None:
        """Let a process go on that alone stood still."""
        if process.frozen:
            process.frozen = False
            self._go_on()

    def _go_on(self) -> None:
        self.resumed = self.world.loop.time
        frozen, self.frozen = self.frozen, []
        for process, action in frozen:  # what woke first is not what was due first
            self.world.loop.at(self.world.loop.random.uniform(0.0, 0.02), action, process)
        self.world.connect()


class Daemon(Process):
    """The loops of pvc_node.daemon.Daemon, in the same order, without what decides nothing."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, f"{host.name} daemon {host.starts}")
        world, config = host.world, host.config
        self._config = config
        self.loop = world.loop
        self.store = world.servers.open(self)
        self.state = ClusterState(self.store)
        self.view = SimView(self.loop, self.store)
        identity = Identity(host.boot_id, host.starts, booted=host.starts_of_boot == 1)
        outside = Outside(
            store=self.store,
            hypervisor=host.hypervisor,
            network=host.network,
            clock=host.clock,
            power=SimPower(host),
            blocks=lambda: SimBlocks(host),  # type: ignore[arg-type, return-value]
            watchdog=_no_watchdog,
        )
        workers, fencers = Pool(self.loop, self, WORKERS), Pool(self.loop, self, FENCERS)
        parts = assemble(config, identity, outside, self.state, self.view, workers, fencers)
        self.presence, self.bridges, self.floating = parts.presence, parts.bridges, parts.floating
        self.reconciler, self.bmcs, self.fencer = parts.reconciler, parts.bmcs, parts.fencer
        self.loop.spawn(self, self._start)

    def _start(self) -> None:
        timing = self._config.timing
        try:
            self.state.prepare()
            self.presence.register()
            self.view.start()
            self.presence.appear(self.view, 3 * SESSION_TIMEOUT)
            self._thread(lambda: self.floating.cycle(self.view.snapshot()), self.floating.interval, instant=0.9)
            self.bridges.apply(self.view.snapshot().networks)
            self.presence.change(DaemonState.RUN)
        except PvcError as error:
            self.host.world.note(f"{self.name} could not start: {error}")
            self.loop.at(0.0, self._give_up, self)
            return
        self._thread(self.reconciler.cycle, timing.keepalive_interval, instant=0.5).wake()
        self.loop.every(timing.keepalive_interval, self._beat, self)
        if self._config.fencing.suicide_intervals:
            Thread(self.loop, self, self._guard_isolation().look, timing.keepalive_interval)
        if self._config.node.role is NodeRole.COORDINATOR:
            self._thread(self.fencer.tick, FENCE_INTERVAL, instant=1.0)
            Thread(self.loop, self, self.bmcs.ask, BMC_INTERVAL)

    def _thread(self, job: Callable[[], object], interval: float, instant: float) -> Thread:
        """A thread that also hears of every change of the view."""
        thread = Thread(self.loop, self, job, interval, instant=instant)
        self.view.threads.append(thread)
        return thread

    def _guard_isolation(self) -> Isolation:
        limit = self._config.fencing.suicide_intervals * self._config.timing.keepalive_interval
        host = self.host
        return Isolation(host.name, limit, self.store, self.view, host.hypervisor, host.clock, host.answers)

    def stop(self) -> None:
        """End in good order, as pvc_node.daemon.Daemon does, but that actions under way are broken off."""
        try:
            self.floating.give_up("the daemon stops")
            self.presence.change(DaemonState.SHUTDOWN)
            self.presence.vanish()
        except PvcError as error:
            self.host.world.note(f"{self.name}: {error}")
        self.host.kill_daemon()
        self.store.close()

    def _give_up(self) -> None:
        self.loop.at(RESTART, self.host.start_daemon, self.host.system)
        self.host.kill_daemon()

    def _beat(self) -> None:
        """What pvc_node.keepalive.Keepalive does, with a memory that is simulated as well."""
        if self.store.session is not Session.CONNECTED:
            return
        try:
            self.presence.keep()
            self.state.put(records.stats(self.host.name), self._stats())
        except PvcError as error:
            self.host.world.note(f"{self.name}: no keepalive: {error}")

    def _stats(self) -> NodeStats:
        host = self.host
        used = sum(host.world.machines[uuid].memory for uuid in host.hypervisor.guests)
        return node_stats(
            host.plan.memory - used,
            host.plan.memory,
            time=host.clock.now(),
            daemon_state=self.presence.daemon_state,
            plugins=(PluginResult("libvirt", 0, 0, ""),),
            domains={uuid: DomainStats() for uuid in host.hypervisor.guests},
        )


def _no_watchdog(seconds: int) -> Watchdog:
    raise AssertionError("no simulated node has one in its configuration")
