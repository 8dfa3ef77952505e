"""A cluster that exists in ZooKeeper alone: nodes, machines and their statistics, rewritten as daemons would."""

from __future__ import annotations

import multiprocessing
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from typing import TypeVar

from benchmarks.machine_xml import DISKS, MEMORY_MIB, VCPUS, libvirt_xml, mac
from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import (
    Addresses,
    Alive,
    DaemonState,
    DiskStats,
    DomainStats,
    InterfaceStats,
    NicStats,
    Node,
    NodeMemory,
    NodeRole,
    NodeStats,
    PluginResult,
    Primary,
)
from pvc_core.model.storage import Pool, PoolStats, StorageStatus, Volume
from pvc_core.model.vm import RunState, Selector, Tag, Vm, VmMeta, VmSize, VmState, VmStatus
from pvc_core.ports import Create, Store
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction

NODES = 50
NETWORKS = range(100, 120)
POOLS = ("vms", "data")
KEEPALIVE = 2.0  # seconds between two writes of a node's statistics
BATCH = 400_000  # bytes in one transaction; ZooKeeper takes a little under 1 MiB
GIB = 1024**3

T = TypeVar("T")


def machine_names(count: int) -> list[str]:
    return [f"app{number:05d}" for number in range(count)]


class SyntheticCluster:
    """The records of a cluster of ``machines`` VMs; the same for the same number."""

    def __init__(self, machines: int, nodes: int = NODES) -> None:
        chance = random.Random(machines)
        self.nodes = [f"hv{number:02d}" for number in range(1, nodes + 1)]
        self.machines = [
            _machine(name, self.nodes[index % nodes], chance) for index, name in enumerate(machine_names(machines))
        ]

    def write(self, store: Store) -> None:
        """Write everything but the signs of life and the statistics. The store has to be empty."""
        state = ClusterState(store)
        state.prepare()
        batches = _Batches(state)
        for index, name in enumerate(self.nodes, 1):
            role = NodeRole.COORDINATOR if index <= 3 else NodeRole.HYPERVISOR
            addresses = Addresses(f"10.0.0.{index}/24", f"10.0.1.{index}/24", f"10.0.2.{index}/24")
            batches.create(records.node(name), Node(name, role, addresses))
        batches.create(records.PRIMARY, Primary(self.nodes[0], 1))
        batches.create(records.STORAGE, self._storage())
        for vni in NETWORKS:
            batches.create(records.network(vni), Network(vni, f"tenant-{vni}", NetworkType.BRIDGED))
        for pool in POOLS:
            batches.create(records.pool(pool), Pool(pool, 1024))
            batches.raw(Create(f"{records.VOLUMES}/{pool}", b""))
        for vm in self.machines:
            self._write_machine(batches, vm)
        batches.flush()

    def _write_machine(self, batches: _Batches, vm: Vm) -> None:
        batches.create(records.vm(vm.uuid), vm)
        batches.create(records.vm_name(vm.name), records.Name(vm.uuid))
        batches.create(records.vm_xml(vm.uuid), libvirt_xml(vm))
        run = RunState.RUNNING if vm.state is VmState.START else RunState.STOPPED
        status = VmStatus(run, vm.node, 1, since=1_700_000_000.0, vnc_listen="0.0.0.0", vnc_port=5900)
        batches.create(records.vm_status(vm.uuid), status)
        for pool in POOLS:
            name = f"{vm.name}_disk"
            volume = Volume(
                pool, name, 40 * GIB, id=vm.uuid[:12], block_name_prefix=f"rbd_data.{vm.uuid[:12]}",
                features=("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"),
                create_timestamp="Tue Mar  4 10:11:12 2025", access_timestamp="Tue Mar  4 10:11:12 2025",
                modify_timestamp="Tue Mar  4 10:11:12 2025",
            )  # fmt: skip
            batches.create(records.volume(pool, name), volume)

    def _storage(self) -> StorageStatus:
        total = 50 * 4 * 1024**3
        pools = {
            name: PoolStats(
                id=index, stored_bytes=200 * 1024 * GIB // 10, free_bytes=60 * 1024 * GIB, used_bytes=60 * 1024 * GIB,
                used_percent=0.25, num_objects=5_000_000, num_object_copies=15_000_000,
                read_ops=10**9, read_bytes=10**13, write_ops=10**9, write_bytes=10**13,
            )
            for index, name in enumerate(POOLS, 1)
        }  # fmt: skip
        return StorageStatus(time.time(), "HEALTH_OK", (), {"up,in": 200}, total, total // 4, total * 3 // 4, pools)


def _machine(name: str, node: str, chance: random.Random) -> Vm:
    state = VmState.START if chance.random() < 0.9 else VmState.STOP
    moved = chance.random() < 0.05
    meta = VmMeta(node_selector=Selector.MEM, node_autostart=chance.random() < 0.2, profile="debian-server")
    tags = (Tag(chance.choice(("web", "database", "build", "mail"))), Tag(f"tenant{chance.randrange(50)}", True))
    identity = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    home = "hv50" if moved and node != "hv50" else ""
    return Vm(identity, name, state, node, home, meta=meta, tags=tags, size=VmSize(MEMORY_MIB, VCPUS))


class _Batches:
    """Collects creations and commits them in transactions that are as large as ZooKeeper takes."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._transaction: Transaction = state.transaction()
        self._bytes = 0

    def create(self, key: records.Key[T], value: T) -> None:
        self.raw(Create(key.path, key.encode(value)))

    def raw(self, write: Create) -> None:
        self._transaction.raw(write)
        self._bytes += len(write.data) + 2 * len(write.path)
        if self._bytes > BATCH:
            self.flush()

    def flush(self) -> None:
        self._transaction.commit()
        self._transaction = self._state.transaction()
        self._bytes = 0


class Statistics:
    """The statistics of every node, whose counters grow with each round."""

    def __init__(self, cluster: SyntheticCluster) -> None:
        self._by_node: dict[str, list[Vm]] = {node: [] for node in cluster.nodes}
        for vm in cluster.machines:
            if vm.state is VmState.START:
                self._by_node[vm.node].append(vm)

    def of(self, node: str, round_number: int) -> NodeStats:
        machines = self._by_node[node]
        total = 2 * 1024 * 1024  # MiB
        used = len(machines) * MEMORY_MIB
        now = time.time()
        plugins = tuple(PluginResult(name, int(now), 0, "") for name in ("load", "disk", "libvirt", "zookeeper"))
        counter = 10**9 + round_number * 10**6
        interfaces = {
            name: InterfaceStats("up", 25_000, counter, counter // 1000, counter, counter // 1000)
            for name in ("ens1f0", "ens1f1", "bond0")
        }
        return NodeStats(
            time=now, daemon_state=DaemonState.RUN, version="2.0.0", arch="x86_64", os="Debian GNU/Linux 12",
            kernel="6.1.0-25-amd64", cpu_count=128, load=12.5, cpu_utilization=10.0,
            memory=NodeMemory(total, used, total - used), plugins=plugins, interfaces=interfaces,
            domains={vm.uuid: _domain_stats(vm, counter) for vm in machines},
        )  # fmt: skip


def _domain_stats(vm: Vm, counter: int) -> DomainStats:
    kib = MEMORY_MIB * 1024
    memory = {
        "actual": kib, "rss": kib // 2, "unused": kib // 3, "available": kib - 40_000, "usable": kib // 2,
        "swap_in": 0, "swap_out": 0, "major_fault": 300, "minor_fault": counter // 100,
        "last_update": counter // 1000,
    }  # fmt: skip
    disk = DiskStats(counter // 5000, counter, counter // 4000, counter)
    card = NicStats(counter, counter // 500, 0, 0, counter, counter // 400, 0, 0)
    return DomainStats(
        cpu_time=counter * 40, user_time=counter * 30, system_time=counter * 10, memory=memory,
        disks=dict.fromkeys(DISKS, disk), networks={mac(vm, 0): card, mac(vm, 1): card},
    )  # fmt: skip


@contextmanager
def running(zookeeper: str, machines: int) -> Iterator[SyntheticCluster]:
    """Write a cluster into an empty ZooKeeper; another process keeps its nodes alive until the context ends."""
    cluster = SyntheticCluster(machines)
    store = ZookeeperStore(ZookeeperConfig(hosts=(zookeeper,)))
    try:
        cluster.write(store)
    finally:
        store.close()
    context = multiprocessing.get_context("spawn")
    alive, stop = context.Event(), context.Event()
    daemons = context.Process(target=_play_daemons, args=(zookeeper, machines, alive, stop), daemon=True)
    daemons.start()
    try:
        while not alive.wait(1.0):
            if not daemons.is_alive():
                raise RuntimeError("the process that plays the node daemons ended; its reason is above")
        yield cluster
    finally:
        stop.set()
        daemons.join()


def _play_daemons(zookeeper: str, machines: int, alive: Event, stop: Event) -> None:
    """Write each node's statistics once a keepalive, evenly spread over it, as so many daemons would."""
    cluster = SyntheticCluster(machines)
    statistics = Statistics(cluster)
    store = ZookeeperStore(ZookeeperConfig(hosts=(zookeeper,)))
    state = ClusterState(store)
    for node in cluster.nodes:
        state.put(records.alive(node), Alive(str(uuid.uuid4()), 1, DaemonState.RUN, 1), ephemeral=True)
        state.put(records.stats(node), statistics.of(node, 0))
    alive.set()
    entries = {node: state.get(records.stats(node)) for node in cluster.nodes}
    round_number, due = 0, time.monotonic()
    while not stop.is_set():
        round_number += 1
        for node, entry in entries.items():
            value = statistics.of(node, round_number)
            state.transaction().update(entry, value).commit()
            entries[node] = replace(entry, version=entry.version + 1)
            due += KEEPALIVE / len(entries)
            if stop.wait(max(0.0, due - time.monotonic())):
                break
    store.close()
