"""A cluster in memory on which operations run: three nodes with their real reconcile loops, under virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pvc_core.config import Config, DaemonConfig, NodeConfig, PostgresqlConfig, RedisConfig, ZookeeperConfig
from pvc_core.errors import Busy, PvcError
from pvc_core.fakes.benchmark import FakeBench, FakeResults
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.fakes.commands import FakeCommands
from pvc_core.fakes.hypervisor import FakeHypervisor
from pvc_core.fakes.network import FakeNetwork
from pvc_core.fakes.osds import FakeOsdMap, FakeOsds
from pvc_core.fakes.peers import FakePeers
from pvc_core.fakes.schedules import FakeReports, FakeSchedules
from pvc_core.fakes.targets import FakeTargets
from pvc_core.model.domain import parse
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import Addresses, DomainState, DomainStats, NodeMemory, NodeStats, PluginResult
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Device, Pool
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.ops.base import Operation, Run, Tools, build, perform
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from tests.records import define, node_stats
from tests.unit.node.harness import TIMING, LabCluster

GIB = 1024**3
NODES = ("n1", "n2", "n3")
DISKS = tuple(Device(f"/dev/sd{letter}", 800 * 10**9, "ATA INTEL SSD") for letter in "bcd")  # of each node
TASK = "11111111-0000-0000-0000-000000000000"


class SteppingView(ClusterView):
    """Waiting lets the nodes act and virtual time pass."""

    lab: LabCluster
    house: House

    def wait(self, predicate: Callable[[ClusterSnapshot], bool], timeout: float) -> bool:
        end = self.lab.clock.monotonic() + timeout
        self.lab.cycle()
        while not predicate(self.snapshot()):
            if self.lab.clock.monotonic() >= end:
                return False
            self.lab.advance(min(1.0, end - self.lab.clock.monotonic()))
            self.house.report_stats()
        return True


@dataclass
class Watcher:
    """The ``Progress`` of a run in a test. ``cancel_at`` is the message of the step at which it is cancelled."""

    house: House
    cancel_at: str = ""
    lose_at: str = ""
    interrupted: bool = False
    tools: dict[str, Any] = field(default_factory=dict)  # those of its children
    messages: list[str] = field(default_factory=list)

    def report(self, current: int, total: int, message: str) -> None:
        assert 0 <= current < total, f"step {current} of {total}: {message}"
        self.messages.append(message)

    def cancel_requested(self) -> bool:
        return bool(self.cancel_at) and any(self.cancel_at in message for message in self.messages)

    def claimed(self) -> bool:
        return not self.lose_at or not any(self.lose_at in message for message in self.messages)

    def wait_children(
        self, children: list[Operation], timeout: float, at_once: int, ended: Callable[[int], object]
    ) -> list[tuple[Operation, str]]:
        """One after another, but one that needs a lock of those which would still be under way is refused."""
        failed = []
        under_way: deque[set[str]] = deque(maxlen=at_once - 1)
        for number, child in enumerate(children):
            locks = set(child.locks(self.house.view.snapshot()))
            try:
                if busy := locks.intersection(set().union(*under_way)):
                    raise Busy(f"{', '.join(sorted(busy))} is in use by another task")
                self.house.run(child, task=f"child-{number}", **self.tools)
                under_way.append(locks)
            except PvcError as error:
                failed.append((child, str(error)))
            ended(number + 1)
        return failed


class House:
    def __init__(self, spool: Path) -> None:
        self.lab = LabCluster()
        self.blocks = FakeBlocks(capacity=300 * GIB)
        self.spool = spool
        self.peers = FakePeers()
        self.targets = FakeTargets()
        self.state = self.lab.state
        self.osd_map = FakeOsdMap()
        self.bench, self.benchmarks = FakeBench(), FakeResults()
        self.osds = {name: FakeOsds(name, DISKS, self.osd_map) for name in NODES}
        self.memory: dict[str, NodeMemory] = {}
        for name in NODES:
            self.lab.start_node(name)
            node = self.state.get(records.node(name)).value
            self.state.put(records.node(name), replace(node, addresses=Addresses(cluster=f"{name}/24")))
            self.set_stats(name)
        self.view = self._view(self.lab.client)
        self.blocks.create_pool("vms", 32, 3, 2, "default")
        self.state.put(records.pool("vms"), Pool("vms", 32))
        self.lab.client.ensure("/pvc/volumes/vms")
        self.state.put(records.network(100), Network(100, "office", NetworkType.BRIDGED))
        self.lab.cycle()

    def _view(self, store: Any) -> SteppingView:
        view = SteppingView(store)
        view.lab, view.house = self.lab, self
        view.start()
        return view

    def set_stats(self, name: str, memory: int = 8192, free: int = 4096) -> None:
        self.memory[name] = NodeMemory(memory, memory - free, free)
        self.report_stats()

    def report_stats(self) -> None:
        """Let each living node write its statistics."""
        for name in self.lab.nodes.keys() & self.memory.keys():
            self.state.put(records.stats(name), self._stats(name))

    def _stats(self, name: str) -> NodeStats:
        host = self.hypervisor(name)
        return node_stats(
            time=self.lab.clock.now(),
            memory=self.memory[name],
            plugins=(PluginResult("libvirt", 0, 50 if host.unavailable else 0, ""),),
            domains={uuid: DomainStats() for uuid in host.guests},
        )

    def run(
        self,
        operation: Operation,
        *,
        node: str = "",
        attempt: int = 1,
        task: str = TASK,
        watcher: Watcher | None = None,
        **tools: Any,
    ) -> Mapping[str, Any]:
        """Perform it as the worker would to which it is sent, built from its arguments. A fresh session each time."""
        operation = build(operation.task_name, operation.arguments())
        name = node or operation.worker_node(self.view.snapshot()) or "n1"
        store = self.lab.servers.connect()
        try:
            kit = Tools(
                config=self.config(name),
                state=ClusterState(store),
                view=self._view(store),
                clock=self.lab.clock,
                blocks=self.blocks,
                hypervisor=self.hypervisor(name),
                network=FakeNetwork(),
                osds=self.osds[name],
                osd_map=self.osd_map,
                bench=self.bench,
                benchmarks=self.benchmarks,
                peers=self.peers,
                targets=self.targets,
                schedules=FakeSchedules(),
                reports=FakeReports(),
                commands=FakeCommands(),
            )
            kit = replace(kit, **tools)
            return perform(operation, Run(kit, task, watcher or Watcher(self), attempt=attempt))
        finally:
            store.close()
            self.lab.cycle()

    def config(self, node: str) -> Config:
        return Config(
            node=NodeConfig(node),
            zookeeper=ZookeeperConfig(("zk:2181",)),
            postgresql=PostgresqlConfig(("db",)),
            redis=RedisConfig("redis://r"),
            timing=TIMING,
            daemon=DaemonConfig(spool_directory=str(self.spool)),
        )

    def hypervisor(self, node: str) -> FakeHypervisor:
        return self.lab.rack.hosts[node]

    def volume(self, name: str, size: int = GIB) -> str:
        self.state.put(records.volume("vms", name), self.blocks.create("vms", name, size))
        return f"vms/{name}"

    def volume_snapshot(self, name: str, snapshot: str) -> None:
        """A snapshot of a volume, and the volume's record with it."""
        self.blocks.create_snapshot("vms", name, snapshot)
        self.state.put(records.volume("vms", name), self.blocks.inspect("vms", name))

    def define(
        self, number: int, state: VmState = VmState.STOP, node: str = "n1", *, memory: int = 512, **fields: Any
    ) -> str:
        """A machine with a disk and a network card, and its node's first look at it."""
        uuid = f"00000000-0000-0000-0000-{number:012}"
        self.volume(f"disk{number}")
        domain = xml(f"vm{number}", uuid=uuid, memory=memory, disks=(f"vms/disk{number}",))
        vm = Vm(uuid, f"vm{number}", state, node, size=parse(domain).size, **fields)
        define(self.state, vm, domain)
        self.lab.cycle()
        return uuid

    def vm(self, uuid: str) -> Vm:
        return self.state.get(records.vm(uuid)).value

    def change(self, uuid: str, **fields: Any) -> None:
        self.lab.change(uuid, **fields)

    def status(self, uuid: str) -> VmStatus:
        return self.state.get(records.vm_status(uuid)).value

    def runs_on(self, uuid: str) -> list[str]:
        assert len(self.lab.rack.running(uuid)) <= 1, "two writers"
        return self.lab.rack.running(uuid)

    def stop_daemon(self, name: str) -> None:
        """The node's daemon dies; its machines run on."""
        self.lab.nodes.pop(name).store.close()
        self.lab.cycle()

    def set_domain_state(self, name: str, state: DomainState) -> None:
        node = self.state.get(records.node(name)).value
        self.state.put(records.node(name), replace(node, domain_state=state))
        self.lab.cycle()

    def picture(self) -> dict[str, Any]:
        """All that a refused or undone operation must leave as it was. Generations only count starts, statuses only say
        what the guests here show, and when a fault was acknowledged is no matter."""
        tree: dict[str, Any] = dict(self.lab.servers.tree())
        for path in [path for path in tree if path.endswith(("/status", "/alive", "/stats"))]:
            del tree[path]
        for path in [path for path in tree if path.startswith("/pvc/vms/") and path.count("/") == 3]:
            uuid = path.rpartition("/")[2]
            tree[path] = replace(self.vm(uuid), generation=0)
        for path in [path for path in tree if path.startswith(f"{records.FAULTS}/")]:
            fault = self.state.get(records.fault(path.rpartition("/")[2])).value
            tree[path] = replace(fault, acknowledged_at=0.0)
        images = {
            f"{pool}/{name}": (image.volume.size, image.content, image.volume.snapshots)
            for pool, record in self.blocks.pool_records.items()
            for name, image in record.images.items()
        }
        pools = {name: record.pgs for name, record in self.blocks.pool_records.items()}
        guests = {
            uuid: (parse(host.guests[uuid].xml), name)
            for name, host in self.lab.rack.hosts.items()
            for uuid in host.guests
        }
        return {"tree": tree, "images": images, "pools": pools, "guests": guests}

    def fail(self, uuid: str) -> None:
        """Let its node give the machine up."""
        self.hypervisor(self.vm(uuid).node).start_error = "no such image"
        self.change(uuid, state=VmState.START)
        self.lab.advance(60)
        assert self.status(uuid).run is RunState.FAILED
        self.hypervisor(self.vm(uuid).node).start_error = ""


def xml(
    name: str = "web1",
    *,
    uuid: str = "",
    memory: int = 512,
    disks: tuple[str, ...] = (),
    networks: tuple[int, ...] = (100,),
) -> str:
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    devices = "".join(disk_xml(volume, f"sd{'abcdef'[i]}") for i, volume in enumerate(disks))
    devices += "".join(card_xml(vni, f"52:54:00:00:00:{i:02x}") for i, vni in enumerate(networks))
    return (
        f"<domain type='kvm'><name>{name}</name>{identity}<memory unit='MiB'>{memory}</memory><vcpu>2</vcpu>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )


def disk_xml(volume: str, dev: str = "sdb", extra: str = "") -> str:
    return (
        f"<disk type='network' device='disk'><source protocol='rbd' name='{volume}'/>"
        f"<target dev='{dev}' bus='scsi'/>{extra}</disk>"
    )


def card_xml(vni: int = 100, mac: str = "") -> str:
    address = f"<mac address='{mac}'/>" if mac else ""
    return f"<interface type='bridge'>{address}<source bridge='vmbr{vni}'/><model type='virtio'/></interface>"
