"""Empty a node of its machines and bring them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Cancelled, Conflict, Failed
from pvc_core.model.fence import Fence
from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.task import Lane
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import find_node
from pvc_core.ops.steps import change, commit
from pvc_core.ops.vm_migrate import VmMigrate, VmUnmigrate
from pvc_core.rules import evacuation
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

MOVE_TIMEOUT = 600.0  # seconds for the move of one machine beside its shutdown; moves wait for each other
MOVES_AT_ONCE = 4  # they share a node's network, and one at a time would leave it idle between two machines
ROUNDS = 3  # how often another place is looked for when the node that was to take a machine fails meanwhile


@dataclass(frozen=True)
class NodeOperation(Operation):
    """An operation on one node, named by its name."""

    node: str

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"node:{self.node}",)


@dataclass(frozen=True)
class NodeFlush(NodeOperation):
    """Migrate every machine away, the important ones first. A machine that cannot go stays, and with it the node in
    state ``flush``."""

    task_name = "node.flush"
    summary = "Move all VMs away from a node"
    lane = Lane.BULK
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_node(snapshot, self.node)
        if entry.daemon_state in (DaemonState.DEAD, DaemonState.FENCED):
            raise Conflict(
                f"node {self.node} is not running ({entry.daemon_state}), so nothing can be moved away from it: "
                "fencing starts its VMs on other nodes"
            )
        _find_running(snapshot, self.node)
        others = [entry for name, entry in snapshot.nodes.items() if name != self.node and _takes_machines(entry)]
        if not others and evacuation.machines(snapshot, self.node):
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
        machines = evacuation.machines(run.snapshot, self.node)
        try:
            reasons = self._move_away(run)
        except Cancelled as error:
            raise Cancelled(f"{error.message}{_moved(run, machines)}", left=error.left) from None
        run.commit_point()
        remaining = evacuation.machines(run.snapshot, self.node)
        if remaining:
            left = tuple(
                f"VM {entry.vm.name} stays: {reasons.get(entry.vm.uuid, 'it has just come')}" for entry in remaining
            )
            raise Failed(f"{len(remaining)} VMs could not be moved away from node {self.node}", left=left)
        _write_state(run, self.node, DomainState.FLUSHED)
        return {"message": f"Node {self.node} is flushed: {len(machines)} VMs were moved", "moved": len(machines)}

    def _move_away(self, run: Run) -> dict[str, str]:
        """Why each machine stays that does. One whose new node fails before it is there is given another one."""
        stay: dict[str, str] = {}
        reasons: dict[str, str] = {}
        for _ in range(ROUNDS):
            places = evacuation.leave(run.snapshot, self.node, stay)
            going = {place.uuid: place for place in places if place.node}
            stay |= {place.uuid: place.reason for place in places if not place.node}
            if not going:
                break
            run.plan(1)
            run.step(f"Moving {len(going)} VMs to other nodes")
            reasons = _send(run, [VmMigrate(place.uuid, place.node, force=True) for place in going.values()])
            snapshot = run.snapshot
            stay |= {uuid: why for uuid, why in reasons.items() if not evacuation.is_spoilt(snapshot, going[uuid])}
        return reasons | stay


@dataclass(frozen=True)
class NodeReady(NodeOperation):
    """Bring the machines back that were migrated from this node, the important ones first, and open it for others. With
    ``stay`` they are left where they are."""

    stay: bool = False

    task_name = "node.ready"
    summary = "Make a node ready and bring its VMs back"
    lane = Lane.BULK
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = _find_running(snapshot, self.node)
        if entry.fence is not None:
            raise _fenced(self.node, entry.fence)

    def execute(self, run: Run) -> Mapping[str, Any]:
        before = find_node(run.snapshot, self.node).node.domain_state
        if before is DomainState.READY:
            return {"message": f"Node {self.node} is ready already", "moved": 0, "remaining": []}
        if self.stay:
            run.step(f"Opening node {self.node}")
            _write_state(run, self.node, DomainState.READY)
            return {"message": f"Node {self.node} is ready", "moved": 0, "remaining": []}
        run.plan(2)
        run.step(f"Opening node {self.node} for its VMs")
        change(
            run,
            lambda: _write_state(run, self.node, DomainState.UNFLUSH),
            f"node {self.node} is in state unflush",
            lambda: _write_state(run, self.node, before),
        )
        machines = evacuation.returning(run.snapshot, self.node)
        run.step(f"Bringing {len(machines)} VMs back")
        try:
            failed = _send(run, [VmUnmigrate(entry.vm.uuid) for entry in machines])
        except Cancelled as error:
            raise Cancelled(f"{error.message}{_moved(run, machines)}", left=error.left) from None
        run.commit_point()
        _write_state(run, self.node, DomainState.READY)
        remaining = [f"VM {_name(run, uuid)}: {reason}" for uuid, reason in failed.items()]
        back = len(machines) - len(remaining)
        message = f"Node {self.node} is ready: {back} VMs are back"
        if remaining:
            message += f", {len(remaining)} are not ({'; '.join(remaining)})"
        return {"message": message, "moved": back, "remaining": remaining}


def _find_running(snapshot: ClusterSnapshot, name: str) -> NodeEntry:
    entry = find_node(snapshot, name)
    if not entry.runs:
        raise Conflict(f"node {name} is not running ({entry.daemon_state})")
    return entry


def _fenced(name: str, fence: Fence) -> Conflict:
    return Conflict(
        f"node {name} was fenced, and it has not been let in again yet ({fence.step}): try again in a moment"
    )


def _takes_machines(entry: NodeEntry) -> bool:
    return entry.runs and entry.node.domain_state is DomainState.READY


def _name(run: Run, uuid: str) -> str:
    entry = run.snapshot.vms.get(uuid)
    return entry.vm.name if entry is not None else uuid


def _moved(run: Run, machines: Sequence[VmEntry]) -> str:
    """Which machines are on another node by now, for the end of a message."""
    run.tools.view.settle()
    now = run.snapshot.vms
    names = [was.vm.name for was in machines if was.vm.uuid in now and now[was.vm.uuid].vm.node != was.vm.node]
    return f"; VM {', '.join(names)} had been moved by then" if names else ""


def _send(run: Run, moves: Sequence[VmMigrate | VmUnmigrate]) -> dict[str, str]:
    """Have the moves done as tasks of their own. The reasons of those that failed, by the machine's uuid."""
    timeout = (MOVE_TIMEOUT + run.tools.config.timing.vm_shutdown_timeout) * max(1, len(moves))
    failed = run.progress.wait_children(list(moves), timeout, MOVES_AT_ONCE, lambda ended: run.part(ended, len(moves)))
    run.checkpoint()
    run.tools.view.settle()
    return {move.vm: reason for move, reason in failed if isinstance(move, (VmMigrate, VmUnmigrate))}


def _write_state(run: Run, name: str, state: DomainState) -> None:
    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.get(records.node(name))
        fence = run.tools.state.find(records.fence(name))
        if fence is not None and state in (DomainState.UNFLUSH, DomainState.READY):
            raise _fenced(name, fence.value)
        if entry.value.domain_state is not state:
            transaction.update(entry, replace(entry.value, domain_state=state))

    commit(run, prepare)
