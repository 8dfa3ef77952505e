"""The cluster as a whole as the API shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta

from pvc_core import __version__
from pvc_core.config import Config
from pvc_core.model.capacity import Capacity
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.rules.health import Health, cluster_health, node_health
from pvc_web.api.schema import Document
from pvc_web.vms.specs import usage_by_node

NO_PRIMARY = "none"

Counts = Annotated[dict[str, int], Meta(description="How many there are: in total, and by state where any is in it")]


class HealthDocument(Document):
    """Per cent, and one sentence for each thing that is wrong."""

    health: int
    messages: tuple[str, ...]


class MemoryDocument(Document):
    """Memory of all nodes in MiB."""

    total: int
    used: int
    free: int
    allocated: Annotated[int, Meta(description="Of the machines that run")]
    provisioned: Annotated[int, Meta(description="Of all machines")]
    utilization: Annotated[float, Meta(description="Per cent")]


class VcpuDocument(Document):
    """Processors of all nodes."""

    total: int
    load: Annotated[float, Meta(description="Sum of the nodes' averages over five minutes")]
    allocated: Annotated[int, Meta(description="Of the machines that run")]
    provisioned: Annotated[int, Meta(description="Of all machines")]
    utilization: Annotated[float, Meta(description="Per cent")]


class DiskSpaceDocument(Document):
    """Space of all OSDs in KiB."""

    total: int
    used: int
    free: int
    utilization: Annotated[float, Meta(description="Per cent")]


class ResourcesDocument(Document):
    """What there is, and what of it is taken."""

    memory: MemoryDocument
    vcpu: VcpuDocument
    disk: DiskSpaceDocument


class SurvivalDocument(Document):
    """Whether the cluster could lose any one of its nodes."""

    survives: bool
    nodes: Annotated[
        dict[str, tuple[str, ...]], Meta(description="The machines that would have no place if that node died")
    ]


class ClusterStatus(Document):
    """The whole cluster at a glance."""

    cluster_health: HealthDocument
    node_health: Annotated[dict[str, HealthDocument], Meta(description="By name of the node")]
    n_minus_1: Annotated[SurvivalDocument | None, Meta(description="Null until the primary has worked it out")]
    maintenance: Annotated[str, Meta(description="true or false, as a word")]
    primary_node: Annotated[str, Meta(description="none while there is none")]
    pvc_version: str
    upstream_ip: str
    resources: ResourcesDocument
    nodes: Counts
    vms: Counts
    networks: int
    osds: Counts
    pools: int
    volumes: int
    snapshots: int


class BackupDocument(Document):
    """All that it takes to bring the configuration back: to be given to /restore as it is, and kept like a password."""

    format: str
    version: int
    schema: int
    created: Annotated[str, Meta(description="ISO 8601")]
    cluster: Annotated[str, Meta(description="Ceph's fsid, empty where it was not known")]
    release: Annotated[str, Meta(description="Version of PVC")]
    configuration: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    migrations: dict[str, tuple[str, ...]]
    digest: Annotated[str, Meta(description="SHA-256 of the rest")]


class PrimaryNode(Document):
    """Which node is primary."""

    primary_node: str


def cluster_status(snapshot: ClusterSnapshot, config: Config) -> ClusterStatus:
    osds = snapshot.storage.osd_states if snapshot.storage else {}
    return ClusterStatus(
        cluster_health=_health(cluster_health(snapshot)),
        node_health={name: _health(node_health(snapshot, name)) for name in snapshot.nodes},
        n_minus_1=_survival(snapshot.capacity),
        maintenance=str(snapshot.maintenance).lower(),
        primary_node=primary_name(snapshot),
        pvc_version=_version(snapshot),
        upstream_ip=config.floating_addresses.upstream,
        resources=_resources(snapshot),
        nodes=_counts(f"{entry.daemon_state},{entry.node.domain_state}" for entry in snapshot.nodes.values()),
        vms=_counts(entry.shown_state.value for entry in snapshot.vms.values()),
        networks=len(snapshot.networks),
        osds={"total": sum(osds.values()), **osds},
        pools=len(snapshot.pools),
        volumes=len(snapshot.volumes),
        snapshots=sum(volume.snapshot_count for volume in snapshot.volumes.values()),
    )


def primary_name(snapshot: ClusterSnapshot) -> str:
    return snapshot.primary.node if snapshot.primary else NO_PRIMARY


def _counts(states: Iterable[str]) -> dict[str, int]:
    counts = Counter(states)
    return {"total": counts.total(), **counts}


def _health(health: Health) -> HealthDocument:
    return HealthDocument(health=health.health, messages=health.messages)


def _survival(capacity: Capacity | None) -> SurvivalDocument | None:
    if capacity is None:
        return None
    nodes = {shortfall.node: shortfall.machines for shortfall in capacity.shortfalls}
    return SurvivalDocument(survives=not nodes, nodes=nodes)


def _version(snapshot: ClusterSnapshot) -> str:
    """That of the primary's daemon; of this server while there is none."""
    entry = snapshot.nodes.get(snapshot.primary.node) if snapshot.primary else None
    return entry.stats.version if entry and entry.stats else __version__


def _resources(snapshot: ClusterSnapshot) -> ResourcesDocument:
    """Nodes whose daemons do not run count for nothing: what they last reported is not there to be used."""
    reports = [entry.stats for entry in snapshot.nodes.values() if entry.runs and entry.stats]
    usage = usage_by_node(snapshot).values()
    memory_total = sum(report.memory.total for report in reports)
    memory_used = sum(report.memory.used for report in reports)
    cpus = sum(report.cpu_count for report in reports)
    busy = sum(report.cpu_utilization * report.cpu_count for report in reports)
    storage = snapshot.storage
    disk_total, disk_used, disk_free = (storage.total_kb, storage.used_kb, storage.free_kb) if storage else (0, 0, 0)
    return ResourcesDocument(
        memory=MemoryDocument(
            total=memory_total,
            used=memory_used,
            free=sum(report.memory.free for report in reports),
            allocated=sum(node.memory for node in usage),
            provisioned=sum(node.memory_provisioned for node in usage),
            utilization=_per_cent(memory_used, memory_total),
        ),
        vcpu=VcpuDocument(
            total=cpus,
            load=round(sum(report.load for report in reports), 2),
            allocated=sum(node.vcpus for node in usage),
            provisioned=sum(node.vcpus_provisioned for node in usage),
            utilization=round(busy / cpus, 2) if cpus else 0.0,
        ),
        disk=DiskSpaceDocument(
            total=disk_total, used=disk_used, free=disk_free, utilization=_per_cent(disk_used, disk_total)
        ),
    )


def _per_cent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
