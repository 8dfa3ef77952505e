"""Nodes as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import CoordinatorState, DaemonState, DomainState, InterfaceStats, PluginResult
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.rules.health import node_health
from pvc_web.api.schema import Document
from pvc_web.vms.specs import NO_USAGE, NodeUsage

MiB = Annotated[int, Meta(description="MiB")]


class NodeVcpuDocument(Document):
    """Processors of a node."""

    total: Annotated[int, Meta(description="Cores of the node")]
    allocated: Annotated[int, Meta(description="vCPUs of the machines that run there")]


class NodeMemoryDocument(Document):
    """Memory of a node."""

    total: MiB
    allocated: Annotated[int, Meta(description="MiB of the machines that run there")]
    provisioned: Annotated[int, Meta(description="MiB of all machines that are assigned there")]
    used: MiB
    free: MiB


class NodeDocument(Document):
    """A server of the cluster."""

    name: str
    daemon_state: DaemonState
    coordinator_state: CoordinatorState
    domain_state: DomainState
    pvc_version: str
    cpu_count: int
    kernel: str
    os: str
    arch: str
    health: Annotated[int, Meta(description="Per cent; 0 while the node does not run")]
    health_plugins: tuple[str, ...]
    health_details: tuple[PluginResult, ...]
    load: Annotated[float, Meta(description="Average over five minutes")]
    domains_count: Annotated[int, Meta(description="Machines that run there")]
    running_domains: Annotated[str, Meta(description="Their uuids, separated by spaces")]
    vcpu: NodeVcpuDocument
    memory: NodeMemoryDocument
    interfaces: dict[str, InterfaceStats]
    fence: Annotated[str, Meta(description="How far its fence has come; empty while it is not fenced")]


class NodeDaemonState(Document):
    """Whether a node's daemon runs."""

    name: str
    daemon_state: DaemonState


class NodeCoordinatorState(Document):
    """Whether a node is primary."""

    name: str
    coordinator_state: CoordinatorState


class NodeDomainState(Document):
    """Whether a node takes machines."""

    name: str
    domain_state: DomainState


class AttemptDocument(Document):
    """What came of one way to make sure of a dead node."""

    confirmed: bool
    message: Annotated[str, Meta(description="What the last try said that failed")]


class NodeFence(Document):
    """How far the fence of a node has come."""

    name: str
    step: FenceStep
    began: Annotated[float, Meta(description="Seconds since the epoch")]
    since: Annotated[float, Meta(description="The same, of the present step")]
    why: str
    addresses: Annotated[tuple[str, ...], Meta(description="From which the storage takes nothing any more")]
    storage: AttemptDocument
    power: AttemptDocument
    confirmed_by: Annotated[str, Meta(description="storage, power or hand; empty while it is not confirmed")]


class NodeLog(Document):
    """The newest lines of a node's log."""

    name: str
    data: str


def node_document(snapshot: ClusterSnapshot, entry: NodeEntry, usage: Mapping[str, NodeUsage]) -> NodeDocument:
    """``usage`` is what ``usage_by_node`` made of the same snapshot."""
    name, stats, used = entry.node.name, entry.stats, usage.get(entry.node.name, NO_USAGE)
    memory = stats.memory if stats else None
    return NodeDocument(
        name=name,
        daemon_state=entry.daemon_state,
        coordinator_state=snapshot.coordinator_state(name),
        domain_state=entry.node.domain_state,
        pvc_version=stats.version if stats else "",
        cpu_count=stats.cpu_count if stats else 0,
        kernel=stats.kernel if stats else "",
        os=stats.os if stats else "",
        arch=stats.arch if stats else "",
        health=node_health(snapshot, name).health,
        health_plugins=tuple(plugin.name for plugin in stats.plugins) if stats else (),
        health_details=stats.plugins if stats else (),
        load=stats.load if stats else 0.0,
        domains_count=len(used.running),
        running_domains=" ".join(used.running),
        vcpu=NodeVcpuDocument(total=stats.cpu_count if stats else 0, allocated=used.vcpus),
        memory=NodeMemoryDocument(
            total=memory.total if memory else 0,
            allocated=used.memory,
            provisioned=used.memory_provisioned,
            used=memory.used if memory else 0,
            free=memory.free if memory else 0,
        ),
        interfaces=stats.interfaces if stats else {},
        fence=entry.fence.step.value if entry.fence else "",
    )


def fence_document(fence: Fence) -> NodeFence:
    return NodeFence.of(
        fence,
        name=fence.node,
        storage=AttemptDocument.of(fence.storage),
        power=AttemptDocument.of(fence.power),
        confirmed_by=fence.confirmed_by or "",
    )
