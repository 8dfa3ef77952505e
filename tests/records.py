"""Records as the parts of a cluster write them, filled in but for what a test cares about."""

from __future__ import annotations

from typing import Any

from pvc_core.model.fence import Fence
from pvc_core.model.node import Addresses, Alive, DaemonState, Node, NodeMemory, NodeRole, NodeStats
from pvc_core.model.snapshot import NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Vm, VmStatus
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.records import Name

ALIVE = Alive("boot", 1, DaemonState.RUN, 1)


def node(name: str, role: NodeRole = NodeRole.COORDINATOR, **fields: Any) -> Node:
    return Node(name, role, fields.pop("addresses", Addresses()), **fields)


def node_stats(free: int = 4096, total: int = 8192, **fields: Any) -> NodeStats:
    """Of a node with so many MiB of memory."""
    filled = {
        "time": 0.0,
        "daemon_state": DaemonState.RUN,
        "version": "2",
        "arch": "x86_64",
        "os": "Debian",
        "kernel": "6",
        "cpu_count": 8,
        "load": 1.0,
        "cpu_utilization": 10.0,
        "memory": NodeMemory(total, total - free, free),
    }
    return NodeStats(**(filled | fields))


def node_entry(
    record: Node, alive: Alive | None = ALIVE, stats: NodeStats | None = None, fence: Fence | None = None
) -> NodeEntry:
    return NodeEntry(record, 0, alive, stats, fence)


def vm_entry(vm: Vm, run: RunState | None = RunState.RUNNING, on: str = "", **status: Any) -> VmEntry:
    """``run`` is what its node says of it, or ``on`` where that is another one; None: nothing yet."""
    return VmEntry(vm, 0, None if run is None else VmStatus(run, on or vm.node, 1, **status))


def define(state: ClusterState, vm: Vm, xml: str, status: VmStatus | None = None) -> None:
    """Write a machine into the cluster as an operation does, and what its node would say of it."""
    transaction = state.transaction()
    transaction.create(records.vm_name(vm.name), Name(vm.uuid))
    transaction.create(records.vm(vm.uuid), vm)
    transaction.create(records.vm_xml(vm.uuid), xml)
    if status is not None:
        transaction.create(records.vm_status(vm.uuid), status)
    transaction.commit()
