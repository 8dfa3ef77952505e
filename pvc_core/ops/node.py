"""Empty a node of its machines and bring them back; choose the primary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Conflict, Failed
from pvc_core.model.node import DomainState, NodeRole, Primary
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.model.task import Lane
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import find_node
from pvc_core.ops.steps import change, commit
from pvc_core.ops.vm_migrate import VmMigrate, VmUnmigrate
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

MOVE_TIMEOUT = 600.0  # seconds for the move of one machine beside its shutdown; moves wait for each other


@dataclass(frozen=True)
class NodeOperation(Operation):
    """An operation on one node, named by its name."""

    node: str

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"node:{self.node}",)


@dataclass(frozen=True)
class NodeFlush(NodeOperation):
    """Migrate every machine away. A machine that cannot go stays, and with it the node in state ``flush``."""

    task_name = "node.flush"
    summary = "Move all VMs away from a node"
    lane = Lane.BULK
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        _find_running(snapshot, self.node)
        others = [entry for name, entry in snapshot.nodes.items() if name != self.node and _takes_machines(entry)]
        if not others and _machines(snapshot, self.node):
            raise Conflict(f"no other node is ready to take the VMs of node {self.node}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        before = find_node(run.snapshot, self.node).node.domain_state
        run.plan(2)
        run.step(f"Closing node {self.node} for VMs")
        change(
            run,
            lambda: _write_state(run, self.node, DomainState.FLUSH),
            f"node {self.node} is in state flush",
            lambda: _write_state(run, self.node, before),
        )
        run.tools.view.settle()
        machines = _machines(run.snapshot, self.node)
        run.step(f"Moving {len(machines)} VMs to other nodes")
        failed = _send(run, [VmMigrate(uuid, force=True) for uuid in machines])
        run.commit_point()
        remaining = _machines(run.snapshot, self.node)
        if remaining:
            left = tuple(f"VM {_name(run, uuid)} stays: {failed.get(uuid, 'it has just come')}" for uuid in remaining)
            raise Failed(f"{len(remaining)} VMs could not be moved away from node {self.node}", left=left)
        _write_state(run, self.node, DomainState.FLUSHED)
        return {"message": f"Node {self.node} is flushed: {len(machines)} VMs were moved", "moved": len(machines)}


@dataclass(frozen=True)
class NodeReady(NodeOperation):
    """Bring the machines back that were migrated from this node, and open it for others."""

    task_name = "node.ready"
    summary = "Make a node ready and bring its VMs back"
    lane = Lane.BULK
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        _find_running(snapshot, self.node)

    def execute(self, run: Run) -> Mapping[str, Any]:
        before = find_node(run.snapshot, self.node).node.domain_state
        if before is DomainState.READY:
            return {"message": f"Node {self.node} is ready already", "moved": 0, "remaining": []}
        run.plan(2)
        run.step(f"Opening node {self.node} for its VMs")
        change(
            run,
            lambda: _write_state(run, self.node, DomainState.UNFLUSH),
            f"node {self.node} is in state unflush",
            lambda: _write_state(run, self.node, before),
        )
        machines = [uuid for uuid, entry in run.snapshot.vms.items() if entry.vm.last_node == self.node]
        run.step(f"Bringing {len(machines)} VMs back")
        failed = _send(run, [VmUnmigrate(uuid) for uuid in machines])
        run.commit_point()
        _write_state(run, self.node, DomainState.READY)
        remaining = [f"VM {_name(run, uuid)}: {reason}" for uuid, reason in failed.items()]
        back = len(machines) - len(remaining)
        message = f"Node {self.node} is ready: {back} VMs are back"
        if remaining:
            message += f", {len(remaining)} are not ({'; '.join(remaining)})"
        return {"message": message, "moved": back, "remaining": remaining}


@dataclass(frozen=True)
class NodePrimary(NodeOperation):
    task_name = "node.primary"
    summary = "Make a coordinator the primary"
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return ("primary",)

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = _find_running(snapshot, self.node)
        if entry.node.role is not NodeRole.COORDINATOR:
            raise Conflict(f"node {self.node} is no coordinator, and cannot be primary")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Making node {self.node} the primary")
        _write_primary(run, self.node)
        return {"message": f"Node {self.node} is primary"}


@dataclass(frozen=True)
class NodeSecondary(NodeOperation):
    """Make the first other living coordinator the primary in place of this one."""

    task_name = "node.secondary"
    summary = "Make a coordinator a secondary"
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return ("primary",)

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_node(snapshot, self.node)
        if entry.node.role is not NodeRole.COORDINATOR:
            raise Conflict(f"node {self.node} is no coordinator, and is never primary")
        if not self._others(snapshot):
            raise Conflict(f"no other coordinator runs that could be primary instead of node {self.node}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        primary = run.snapshot.primary
        if primary is None or primary.node != self.node:
            return {"message": f"Node {self.node} is secondary already"}
        other = self._others(run.snapshot)[0]
        run.step(f"Making node {other} the primary")
        _write_primary(run, other)
        return {"message": f"Node {self.node} is secondary, and node {other} primary"}

    def _others(self, snapshot: ClusterSnapshot) -> list[str]:
        return sorted(
            name
            for name, entry in snapshot.nodes.items()
            if name != self.node and entry.runs and entry.node.role is NodeRole.COORDINATOR
        )


def _find_running(snapshot: ClusterSnapshot, name: str) -> NodeEntry:
    entry = find_node(snapshot, name)
    if not entry.runs:
        raise Conflict(f"node {name} is not running ({entry.daemon_state})")
    return entry


def _takes_machines(entry: NodeEntry) -> bool:
    return entry.runs and entry.node.domain_state is DomainState.READY


def _machines(snapshot: ClusterSnapshot, node: str) -> list[str]:
    return [uuid for uuid, entry in snapshot.vms.items() if node in (entry.vm.node, entry.holder)]


def _name(run: Run, uuid: str) -> str:
    entry = run.snapshot.vms.get(uuid)
    return entry.vm.name if entry is not None else uuid


def _send(run: Run, moves: list[Operation]) -> dict[str, str]:
    """Have the moves done as tasks of their own. The reasons of those that failed, by the machine's uuid."""
    shutdown = run.tools.config.timing.vm_shutdown_timeout
    failed = run.progress.wait_children(moves, (MOVE_TIMEOUT + shutdown) * max(1, len(moves)))
    run.checkpoint()
    run.tools.view.settle()
    return {move.vm: reason for move, reason in failed if isinstance(move, (VmMigrate, VmUnmigrate))}


def _write_state(run: Run, name: str, state: DomainState) -> None:
    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.get(records.node(name))
        if entry.value.domain_state is not state:
            transaction.update(entry, replace(entry.value, domain_state=state))

    commit(run, prepare)


def _write_primary(run: Run, name: str) -> None:
    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.PRIMARY)
        if entry is None:
            transaction.create(records.PRIMARY, Primary(name, 1))
        elif entry.value.node != name:
            transaction.update(entry, Primary(name, entry.value.epoch + 1))

    commit(run, prepare)
