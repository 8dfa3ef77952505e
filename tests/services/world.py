"""A small cluster for tests of the API, written into ZooKeeper as its daemons would."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from pvc_core.model.capacity import Capacity, Shortfall
from pvc_core.model.fault import Finding, raised
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import (
    Addresses,
    DiskStats,
    DomainStats,
    InterfaceStats,
    NicStats,
    NodeStats,
    PluginResult,
    Primary,
)
from pvc_core.model.storage import ImageSnapshot, OsdStats, Pool, PoolStats, StorageStatus, Volume
from pvc_core.model.vm import MigrationMethod, RunState, Selector, Tag, Vm, VmMeta, VmSize, VmState, VmStatus
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from tests.records import ALIVE, define, node, node_stats

GIB = 1 << 30
WEB, DB = (str(uuid.UUID(int=number)) for number in (1, 2))

XML = """<domain type="kvm">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <description>a machine for tests</description>
  <memory unit="MiB">{memory}</memory>
  <vcpu>2</vcpu>
  <cpu><topology sockets="1" cores="2" threads="1"/></cpu>
  <os><type arch="x86_64" machine="pc-i440fx-7.2">hvm</type></os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <console type="pty"/>
    <disk type="network" device="disk">
      <source protocol="rbd" name="vms/{name}_disk0"/>
      <target dev="sda" bus="scsi"/>
    </disk>
    <interface type="bridge">
      <mac address="{mac}"/>
      <source bridge="vmbr100"/>
      <model type="virtio"/>
    </interface>
  </devices>
</domain>
"""


@dataclass(frozen=True)
class Machine:
    vm: Vm
    status: VmStatus
    mac: str
    memory: int = 1024

    @property
    def xml(self) -> str:
        return XML.format(name=self.vm.name, uuid=self.vm.uuid, memory=self.memory, mac=self.mac)


WEB_MAC, DB_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"

RUNNING = Machine(
    Vm(
        WEB,
        "web",
        VmState.START,
        "node1",
        last_node="node2",
        meta=VmMeta(("node1", "node2"), Selector.MEM, True, MigrationMethod.LIVE, 500, "small", 9, ("db",), ("web",)),
        tags=(Tag("production"), Tag("kept", protected=True)),
    ),
    VmStatus(RunState.RUNNING, "node1", 1, vnc_listen="10.0.1.1", vnc_port=5901),
    WEB_MAC,
)
STOPPED = Machine(
    Vm(DB, "db", VmState.STOP, "node2", tags=(Tag("test"),)), VmStatus(RunState.STOPPED, "node2", 1), DB_MAC, 2048
)

COUNTERS = DomainStats(
    cpu_time=30,
    user_time=20,
    system_time=10,
    memory={"actual": 1048576, "rss": 500000},
    disks={"sda": DiskStats(1, 2, 3, 4)},
    networks={WEB_MAC: NicStats(1, 2, 3, 4, 5, 6, 7, 8)},
)

FAULT = raised(Finding("vm-failed:db", "", 10, "VM db: no disk"), 1701449279.849742, 1701452385.188398)


def stats(domains: dict[str, DomainStats]) -> NodeStats:
    return node_stats(
        12000,
        16000,
        version="2.0.0",
        kernel="6.1",
        load=1.5,
        cpu_utilization=12.5,
        plugins=(PluginResult("load", 1700000000, 0, "fine"), PluginResult("disk", 1700000000, 10, "nearly full")),
        interfaces={"eth0": InterfaceStats("up", 10000, 1, 2, 3, 4)},
        domains=domains,
    )


def volume(name: str, size: int = 4 * GIB) -> Volume:
    return Volume("vms", name, size, id="abc", features=("layering",), create_timestamp="Mon Jan  1 00:00:00 2024")


KEPT = replace(volume("kept"), snapshots=(ImageSnapshot("first", 2 * GIB, 1_700_000_000.0, protected=True),))


def add_machine(state: ClusterState, machine: Machine) -> None:
    define(state, replace(machine.vm, size=VmSize(machine.memory, 2)), machine.xml, machine.status)


def populate(state: ClusterState) -> None:
    """Two nodes, two machines, a pool with their volumes, a network, a fault. The web's view shows them on return."""
    for name, running in (("node1", {WEB: COUNTERS}), ("node2", {})):
        transaction = state.transaction()
        addresses = Addresses(cluster="127.0.0.1/8")
        transaction.create(records.node(name), node(name, addresses=addresses))
        transaction.create(records.alive(name), ALIVE)
        transaction.create(records.stats(name), stats(running))
        transaction.commit()
    transaction = state.transaction()
    transaction.create(records.PRIMARY, Primary("node1", 1))
    transaction.create(records.CAPACITY, Capacity((Shortfall("node1", ("web",)),)))
    transaction.create(records.pool("vms"), Pool("vms", 32))
    transaction.create(records.network(100), Network(100, "office", NetworkType.BRIDGED))
    transaction.create(records.STORAGE, storage_status())
    transaction.create(records.fault(FAULT.id), FAULT)
    transaction.commit()
    state.store.ensure(f"{records.VOLUMES}/vms")
    for name in ("web_disk0", "db_disk0"):
        state.transaction().create(records.volume("vms", name), volume(name)).commit()
    add_machine(state, RUNNING)
    add_machine(state, STOPPED)
    connections.view().settle()


OSD_STATS = OsdStats(
    up=True,
    in_=True,
    node="node2",
    uuid="1c2d",
    weight=0.5,
    reweight=1.0,
    pgs=32,
    kb=8 << 20,
    used_kb=2 << 20,
    avail_kb=6 << 20,
    utilization=25.0,
    variance=1.1,
    write_ops=12,
    write_bytes=4096,
    device_class="ssd",
)


def storage_status() -> StorageStatus:
    return StorageStatus(
        time=0.0,
        health="HEALTH_WARN",
        health_messages=("noout is set",),
        osd_states={"up,in": 3},
        osds={7: OSD_STATS},
        total_kb=3000,
        used_kb=600,
        free_kb=2400,
        pools={"vms": PoolStats(id=1, stored_bytes=100, free_bytes=900, used_percent=0.1)},
        status_text="cluster: fine",
        utilization_text="ID CLASS",
    )


def many(count: int) -> list[Machine]:
    """Machines beside the others, all running on node1."""
    return [
        Machine(
            replace(RUNNING.vm, uuid=str(uuid.UUID(int=1000 + number)), name=f"many{number}", tags=()),
            RUNNING.status,
            f"52:54:00:01:{number // 256:02x}:{number % 256:02x}",
        )
        for number in range(count)
    ]
