"""Choose the primary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import Conflict, Failed
from pvc_core.model.node import NodeRole, Primary
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import find_node
from pvc_core.ops.steps import change, commit
from pvc_core.rules import election
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

READY_TIMEOUT = 10.0  # seconds for the new primary to take the floating addresses; a part of one is the rule


@dataclass(frozen=True)
class PrimaryOperation(Operation):
    """An operation on one coordinator, named by its name."""

    node: str

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return ("primary",)

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.node


@dataclass(frozen=True)
class NodePrimary(PrimaryOperation):
    task_name = "node.primary"
    summary = "Make a coordinator the primary"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        _check(snapshot, self.node)

    def execute(self, run: Run) -> Mapping[str, Any]:
        _hand_over(run, self.node)
        return {"message": f"Node {self.node} is primary"}


@dataclass(frozen=True)
class NodeSecondary(PrimaryOperation):
    """Make another coordinator the primary in place of this one, as an election would choose it."""

    task_name = "node.secondary"
    summary = "Make a coordinator a secondary"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        if find_node(snapshot, self.node).node.role is not NodeRole.COORDINATOR:
            raise Conflict(f"node {self.node} is no coordinator, and is never primary")
        _check(snapshot, self._successor(snapshot))

    def execute(self, run: Run) -> Mapping[str, Any]:
        primary = run.snapshot.primary
        if primary is None or primary.node != self.node:
            return {"message": f"Node {self.node} is secondary already"}
        other = self._successor(run.snapshot)
        _hand_over(run, other)
        return {"message": f"Node {self.node} is secondary, and node {other} primary"}

    def _successor(self, snapshot: ClusterSnapshot) -> str:
        others = [name for name in election.candidates(snapshot) if name != self.node]
        if not others:
            raise Conflict(f"no other coordinator runs that could be primary instead of node {self.node}")
        return others[0]


def _check(snapshot: ClusterSnapshot, name: str) -> None:
    """Raise Conflict unless the node can be made primary."""
    entry = find_node(snapshot, name)
    if entry.node.role is not NodeRole.COORDINATOR:
        raise Conflict(f"node {name} is no coordinator, and cannot be primary")
    if not entry.runs:
        raise Conflict(f"node {name} is not running ({entry.daemon_state})")
    if entry.fence is not None:
        raise Conflict(f"node {name} has a fence ({entry.fence.step}), and cannot be primary before that has ended")


def _hand_over(run: Run, name: str) -> None:
    """Make a node primary; done when it has the floating addresses. Else the primary of before has the role again."""
    before = run.snapshot.primary
    run.plan(2)
    run.step(f"Making node {name} the primary")
    change(
        run,
        lambda: commit(run, lambda transaction: _write(run, transaction, name)),
        f"node {name} is primary",
        lambda: commit(run, lambda transaction: _give_back(run, transaction, name, before)),
    )
    run.tools.view.settle()
    run.step(f"Waiting for node {name} to take the floating addresses")
    if not run.wait(f"node {name} to be primary", lambda now: _is_decided(now, name), READY_TIMEOUT):
        raise Failed(f"node {name} has not taken the floating addresses within {READY_TIMEOUT:g} s: its log says why")
    primary = run.snapshot.primary
    if primary is None or primary.node != name:
        raise Failed(f"node {name} was made primary and has lost that again: it does not run any more")


def _is_decided(snapshot: ClusterSnapshot, name: str) -> bool:
    primary = snapshot.primary
    return primary is not None and (primary.ready or primary.node != name)


def _write(run: Run, transaction: Transaction, name: str) -> None:
    entry = run.tools.state.find(records.PRIMARY)
    if entry is None:
        transaction.create(records.PRIMARY, Primary(name, 1))
    elif entry.value.node != name:
        transaction.update(entry, Primary(name, entry.value.epoch + 1))


def _give_back(run: Run, transaction: Transaction, name: str, before: Primary | None) -> None:
    entry = run.tools.state.find(records.PRIMARY)
    if before is not None and entry is not None and entry.value.node == name != before.node:
        transaction.update(entry, Primary(before.node, entry.value.epoch + 1))
