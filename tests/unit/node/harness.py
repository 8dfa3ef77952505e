"""One cluster in memory whose nodes run the real reconcile code, step by step under virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pvc_core.config import Config, NodeConfig, PostgresqlConfig, RedisConfig, TimingConfig, ZookeeperConfig
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.hypervisor import FakeHypervisor, FakeRack
from pvc_core.fakes.network import FakeNetwork
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.model.node import Addresses, DaemonState
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.bridges import Bridges
from pvc_node.disks import Disks
from pvc_node.floating import Floating
from pvc_node.homecoming import Homecoming
from pvc_node.identity import Identity
from pvc_node.leadership import Leadership
from pvc_node.presence import Presence
from pvc_node.reconcile import Reconciler
from pvc_node.workers import Job
from tests.records import define

FLOATING = "192.0.2.250/24"
TIMING = TimingConfig(keepalive_interval=2.0, restart_backoff=2.0, restart_limit=5, vm_shutdown_timeout=30.0)


def uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def domain_xml(number: int, name: str) -> str:
    """A machine whose disk is the volume of its name in the pool ``vms``, which a test may make."""
    disk = f"<disk type='network'><source protocol='rbd' name='vms/{name}'/><target dev='vda' bus='virtio'/></disk>"
    return (
        f"<domain type='kvm'><name>{name}</name><uuid>{uuid(number)}</uuid><memory unit='MiB'>64</memory>"
        f"<vcpu>1</vcpu><os><type>hvm</type></os><devices>{disk}</devices></domain>"
    )


def config(node: str) -> Config:
    """With the floating address in the upstream network."""
    return Config(
        node=NodeConfig(node, addresses=Addresses(upstream=own_address(node))),
        zookeeper=ZookeeperConfig(("zk:2181",), session_timeout=6.0),
        postgresql=PostgresqlConfig(("db",)),
        redis=RedisConfig("redis://r"),
        floating_addresses=Addresses(upstream=FLOATING),
        timing=TIMING,
    )


def own_address(node: str) -> str:
    return f"192.0.2.{node.removeprefix('n')}/24"


@dataclass
class HeldWorkers:
    """Jobs wait until the test runs them; ``run`` runs those there are and those that follow."""

    jobs: list[Job] = field(default_factory=list)
    inline: bool = True

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        if self.inline:
            self.run()

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


@dataclass
class LabNode:
    """One node's daemon, without its threads."""

    name: str
    store: FakeStore
    hypervisor: FakeHypervisor
    network: FakeNetwork
    workers: HeldWorkers
    presence: Presence
    reconciler: Reconciler
    view: ClusterView
    floating: Floating


class LabCluster:
    def __init__(self) -> None:
        self.servers = FakeCluster()
        self.clock = FakeClock()
        self.rack = FakeRack()
        self.blocks = FakeBlocks()
        self.client = self.servers.connect()
        self.state = ClusterState(self.client)
        self.state.prepare()
        self.nodes: dict[str, LabNode] = {}
        self.starts: dict[str, int] = {}

    def start_node(self, name: str, *, boot: str = "boot") -> LabNode:
        """Start (or start again) the daemon of a node."""
        store = self.servers.connect()
        state = ClusterState(store)
        hypervisor = self.rack.hosts.get(name) or FakeHypervisor(self.rack, name)
        old = self.nodes.get(name)
        self.starts[name] = self.starts.get(name, 0) + 1
        identity = Identity(f"{boot}-{name}", self.starts[name], booted=old is None or boot != "boot")
        network = old.network if old else FakeNetwork((own_address(name),), self.clock)
        view = ClusterView(store, with_xml=False, with_stats=False)
        presence = Presence(state, NodeConfig(name), identity)
        workers = HeldWorkers()
        presence.register()
        view.start()
        reconciler = Reconciler(
            name,
            identity,
            state,
            view,
            presence,
            hypervisor,
            Bridges(network, self.clock),
            self.clock,
            TIMING,
            workers,
            Disks(lambda: self.blocks),
            Homecoming(name, state, presence, hypervisor, lambda: self.blocks, self.clock, workers),
        )
        presence.keep()
        presence.change(DaemonState.RUN)
        floating = Floating(config(name), state, Leadership(name, state), presence, network, self.clock)
        self.nodes[name] = LabNode(name, store, hypervisor, network, workers, presence, reconciler, view, floating)
        return self.nodes[name]

    def cycle(self, times: int = 4) -> None:
        """Let every daemon look a few times, which is enough for one change to have all its effects."""
        for _ in range(times):
            for node in self.nodes.values():
                node.reconciler.cycle()
                node.floating.cycle(node.view.snapshot())

    def advance(self, seconds: float) -> None:
        """Let time pass, a keepalive interval at a time, with a look at the end of each."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(TIMING.keepalive_interval, end - self.clock.monotonic()))
            self.cycle(2)

    def define(self, number: int, state: VmState = VmState.START, node: str = "n1", **fields: Any) -> str:
        vm = Vm(uuid(number), f"vm{number}", state, node, **fields)
        define(self.state, vm, domain_xml(number, vm.name))
        return vm.uuid

    def change(self, vm_uuid: str, **fields: Any) -> None:
        entry = self.state.get(records.vm(vm_uuid))
        self.state.transaction().update(entry, replace(entry.value, **fields)).commit()

    def vm(self, vm_uuid: str) -> Vm:
        return self.state.get(records.vm(vm_uuid)).value

    def status(self, vm_uuid: str) -> VmStatus:
        return self.state.get(records.vm_status(vm_uuid)).value


def run_of(lab: LabCluster, uuid: str) -> RunState:
    return lab.status(uuid).run
