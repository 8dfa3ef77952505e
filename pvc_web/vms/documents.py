"""Machines as the API shows them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pvc_core.model.domain import Controller, DomainSpec
from pvc_core.model.node import DiskStats, DomainStats, NicStats
from pvc_core.model.snapshot import ClusterSnapshot, ShownState, VmEntry
from pvc_core.model.vm import MigrationMethod, Selector, Tag
from pvc_web.api.schema import Document
from pvc_web.vms.mirror_documents import MirrorDocument, mirror_document
from pvc_web.vms.snapshot_documents import VmSnapshotDocument, snapshot_documents
from pvc_web.vms.specs import spec_of

NOTHING = "None"  # what PVC has always written for a console that is not there

_UNKNOWN = DomainSpec(
    uuid="",
    name="",
    description="",
    type="",
    memory=0,
    vcpu=0,
    topology="",
    arch="",
    machine="",
    emulator="",
    features=(),
    controllers=(),
    console="",
    vnc_listen="",
    vnc_port="",
    disks=(),
    networks=(),
)
_NO_DISK_STATS = DiskStats()
_NO_NIC_STATS = NicStats()


class VncDocument(Document):
    """The graphical console, or None in both where there is none now."""

    listen: str
    port: str


_NO_VNC = VncDocument(listen=NOTHING, port=NOTHING)


class DiskDocument(Document):
    """A disk with its counters since the machine was started."""

    type: Annotated[str, Meta(description="rbd, file or block")]
    name: Annotated[str, Meta(description="pool/volume of an rbd disk, else a path")]
    dev: str
    bus: str
    rd_req: int
    rd_bytes: int
    wr_req: int
    wr_bytes: int


class NicDocument(Document):
    """A network card with its counters since the machine was started."""

    type: str
    vni: Annotated[int | None, Meta(description="Null where the card is on no network of the cluster")]
    mac: str
    source: str
    model: str
    rd_bytes: int
    rd_packets: int
    rd_errors: int
    rd_drops: int
    wr_bytes: int
    wr_packets: int
    wr_errors: int
    wr_drops: int


class VmDocument(Document):
    """A virtual machine."""

    name: str
    uuid: str
    state: ShownState
    node: str
    last_node: Annotated[str, Meta(description="Where it goes back to on unmigrate; empty when it was not migrated")]
    migrated: Annotated[str, Meta(description="no, or: from <last node>")]
    failed_reason: str
    node_limit: tuple[str, ...]
    node_selector: Selector
    node_autostart: bool
    migration_method: MigrationMethod
    migration_max_downtime: Annotated[int, Meta(description="Milliseconds")]
    priority: Annotated[int, Meta(description="Of two machines for one place, the higher one gets it")]
    affinity: Annotated[tuple[str, ...], Meta(description="Tags of machines whose node it is to share")]
    anti_affinity: Annotated[tuple[str, ...], Meta(description="Tags of machines whose node it is to avoid")]
    tags: tuple[Tag, ...]
    snapshots: tuple[VmSnapshotDocument, ...]
    description: str
    profile: str
    memory: Annotated[int, Meta(description="MiB")]
    memory_stats: Annotated[dict[str, int], Meta(description="KiB, as libvirt reports them; empty when it is off")]
    vcpu: int
    vcpu_topology: Annotated[str, Meta(description="sockets/cores/threads")]
    vcpu_stats: Annotated[dict[str, int], Meta(description="Nanoseconds of CPU time; empty when it is off")]
    type: str
    arch: str
    machine: str
    console: str
    vnc: VncDocument
    emulator: str
    features: tuple[str, ...]
    disks: tuple[DiskDocument, ...]
    networks: tuple[NicDocument, ...]
    controllers: tuple[Controller, ...]
    mirror: MirrorDocument | None
    xml: str


class VmState(Document):
    """In what state a machine is."""

    name: str
    state: ShownState


class VmNode(Document):
    """Where a machine is."""

    name: str
    node: str
    last_node: str


class VmMetadata(Document):
    """What the cluster knows of a machine beyond its XML."""

    name: str
    node_limit: tuple[str, ...]
    node_selector: Selector
    node_autostart: Annotated[str, Meta(description="True or False, as a word")]
    migration_method: MigrationMethod
    migration_max_downtime: int
    priority: int
    affinity: tuple[str, ...]
    anti_affinity: tuple[str, ...]


class VmTags(Document):
    """The tags of a machine."""

    name: str
    tags: tuple[Tag, ...]


class VmLog(Document):
    """The newest lines of a machine's serial console."""

    name: str
    data: str


def vm_document(
    snapshot: ClusterSnapshot, entry: VmEntry, snapshots: tuple[VmSnapshotDocument, ...] | None = None
) -> VmDocument:
    """``snapshots`` where they are shown with what a list leaves out."""
    vm, meta, status = entry.vm, entry.vm.meta, entry.status
    spec = spec_of(snapshot, vm.uuid) or _UNKNOWN
    stats = _statistics(snapshot, entry)
    state = entry.shown_state
    vnc = _NO_VNC
    if entry.runs and status and status.vnc_port:
        vnc = VncDocument(listen=status.vnc_listen, port=str(status.vnc_port))
    return VmDocument(
        name=vm.name,
        uuid=vm.uuid,
        state=state,
        node=vm.node,
        last_node=vm.last_node,
        migrated=f"from {vm.last_node}" if vm.last_node else "no",
        failed_reason=status.reason if status and state is ShownState.FAIL else "",
        node_limit=meta.node_limit,
        node_selector=meta.node_selector,
        node_autostart=meta.node_autostart,
        migration_method=meta.migration_method,
        migration_max_downtime=meta.migration_max_downtime,
        priority=meta.priority,
        affinity=meta.affinity,
        anti_affinity=meta.anti_affinity,
        tags=vm.tags,
        snapshots=snapshot_documents(snapshot, vm.uuid) if snapshots is None else snapshots,
        description=spec.description,
        profile=meta.profile,
        memory=spec.memory,
        memory_stats=stats.memory if stats else {},
        vcpu=spec.vcpu,
        vcpu_topology=spec.topology,
        vcpu_stats=_vcpu_stats(stats) if stats else {},
        type=spec.type,
        arch=spec.arch,
        machine=spec.machine,
        console=spec.console,
        vnc=vnc,
        emulator=spec.emulator,
        features=spec.features,
        disks=_disks(spec, stats),
        networks=_networks(spec, stats),
        controllers=spec.controllers,
        mirror=mirror_document(snapshot, vm.uuid),
        xml=snapshot.xmls.get(vm.uuid, ""),
    )


def vm_metadata(entry: VmEntry) -> VmMetadata:
    meta = entry.vm.meta
    return VmMetadata.of(meta, name=entry.vm.name, node_autostart=str(meta.node_autostart))


def _statistics(snapshot: ClusterSnapshot, entry: VmEntry) -> DomainStats | None:
    """The counters of the machine on the node where it runs; None when it is off or nothing was reported yet."""
    if not entry.runs or entry.status is None:
        return None
    node = snapshot.nodes.get(entry.status.node)
    return node.stats.domains.get(entry.vm.uuid) if node and node.stats else None


def _vcpu_stats(stats: DomainStats) -> dict[str, int]:
    return {"cpu_time": stats.cpu_time, "user_time": stats.user_time, "system_time": stats.system_time}


def _disks(spec: DomainSpec, stats: DomainStats | None) -> tuple[DiskDocument, ...]:
    counters = stats.disks if stats else {}
    return tuple(
        DiskDocument(
            type=disk.type,
            name=disk.name,
            dev=disk.dev,
            bus=disk.bus,
            rd_req=seen.rd_req,
            rd_bytes=seen.rd_bytes,
            wr_req=seen.wr_req,
            wr_bytes=seen.wr_bytes,
        )
        for disk in spec.disks
        for seen in (counters.get(disk.dev, _NO_DISK_STATS),)
    )


def _networks(spec: DomainSpec, stats: DomainStats | None) -> tuple[NicDocument, ...]:
    counters = stats.networks if stats else {}
    return tuple(
        NicDocument(
            type=nic.type,
            vni=nic.vni,
            mac=nic.mac,
            source=nic.source,
            model=nic.model,
            rd_bytes=seen.rd_bytes,
            rd_packets=seen.rd_packets,
            rd_errors=seen.rd_errors,
            rd_drops=seen.rd_drops,
            wr_bytes=seen.wr_bytes,
            wr_packets=seen.wr_packets,
            wr_errors=seen.wr_errors,
            wr_drops=seen.wr_drops,
        )
        for nic in spec.networks
        for seen in (counters.get(nic.mac, _NO_NIC_STATS),)
    )
