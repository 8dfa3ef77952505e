"""Snapshots of clusters for tests of where machines go."""

from __future__ import annotations

from typing import Any

from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import (
    Addresses,
    Alive,
    DaemonState,
    DomainState,
    DomainStats,
    Node,
    NodeMemory,
    NodeRole,
    NodeStats,
)
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Tag, Vm, VmMeta, VmSize, VmState, VmStatus


def node(
    name: str,
    *,
    free: int = 4096,
    total: int = 8192,
    load: float = 1.0,
    daemon: DaemonState | None = DaemonState.RUN,
    domains: DomainState = DomainState.READY,
    reported: bool = True,
    fence: FenceStep | None = None,
) -> NodeEntry:
    stats = NodeStats(
        time=0.0,
        daemon_state=DaemonState.RUN,
        version="",
        arch="",
        os="",
        kernel="",
        cpu_count=4,
        load=load,
        cpu_utilization=0.0,
        memory=NodeMemory(total, total - free, free),
    )
    alive = None if daemon is None else Alive("boot", 1, daemon, 1)
    record = Node(name, NodeRole.COORDINATOR, Addresses(), domains)
    fenced = None if fence is None else Fence(name, "boot", (), fence, 0.0, 0.0, "")
    return NodeEntry(record, 0, alive, stats if reported else None, fenced)


def machine(
    name: str,
    on: str,
    memory: int = 512,
    vcpus: int = 1,
    *,
    state: VmState = VmState.START,
    run: RunState | None = RunState.RUNNING,
    tags: tuple[str, ...] = (),
    last_node: str = "",
    **meta: Any,
) -> VmEntry:
    """Its uuid is its name. ``run`` is what its node says of it; None: nothing yet."""
    vm = Vm(
        name,
        name,
        state,
        on,
        last_node,
        meta=VmMeta(**meta),
        tags=tuple(map(Tag, tags)),
        size=VmSize(memory, vcpus),
    )
    status = None if run is None or state is not VmState.START else VmStatus(run, on, 1)
    return VmEntry(vm, 0, status)


def cluster(*parts: NodeEntry | VmEntry) -> ClusterSnapshot:
    """Nodes and machines. Those that run are in the report of their node, so their memory is not free there."""
    vms = {part.vm.uuid: part for part in parts if isinstance(part, VmEntry)}
    nodes = {part.node.name: part for part in parts if isinstance(part, NodeEntry)}
    for uuid, entry in vms.items():
        stats = nodes[entry.vm.node].stats if entry.vm.node in nodes else None
        if entry.runs and stats is not None:
            stats.domains[uuid] = DomainStats()
    return ClusterSnapshot(nodes=nodes, vms=vms)
