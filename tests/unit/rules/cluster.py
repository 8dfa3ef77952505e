"""Snapshots of clusters for tests of where machines go."""

from __future__ import annotations

from typing import Any

from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import (
    Alive,
    DaemonState,
    DomainState,
    DomainStats,
)
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Tag, Vm, VmMeta, VmSize, VmState
from tests import records
from tests.records import node_entry, node_stats, vm_entry


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
    stats = node_stats(free, total, cpu_count=4, load=load) if reported else None
    alive = None if daemon is None else Alive("boot", 1, daemon, 1)
    fenced = None if fence is None else Fence(name, "boot", (), fence, 0.0, 0.0, "")
    return node_entry(records.node(name, domain_state=domains), alive, stats, fenced)


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
    return vm_entry(vm, run if state is VmState.START else None)


def cluster(*parts: NodeEntry | VmEntry) -> ClusterSnapshot:
    """Nodes and machines. Those that run are in the report of their node, so their memory is not free there."""
    vms = {part.vm.uuid: part for part in parts if isinstance(part, VmEntry)}
    nodes = {part.node.name: part for part in parts if isinstance(part, NodeEntry)}
    for uuid, entry in vms.items():
        stats = nodes[entry.vm.node].stats if entry.vm.node in nodes else None
        if entry.runs and stats is not None:
            stats.domains[uuid] = DomainStats()
    return ClusterSnapshot(nodes=nodes, vms=vms)
