"""What an administrator does about a fence that no method can confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Conflict
from pvc_core.model.fence import Method
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry
from pvc_core.model.task import Role
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_node
from pvc_core.ops.node import NodeOperation
from pvc_core.ops.steps import commit
from pvc_core.rules import fencing
from pvc_core.state import fences, records
from pvc_core.state.cluster import Transaction


@dataclass(frozen=True)
class NodeFenceConfirm(NodeOperation):
    """An administrator has seen with his own eyes that the node is off. Its machines are then started elsewhere, and
    would be damaged if it were not."""

    task_name = "node.fence_confirm"
    summary = "Confirm by hand that a node is off"
    role = Role.ADMINISTRATOR

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_node(snapshot, self.node)
        if entry.alive is not None:
            raise Conflict(f"node {self.node} is alive ({entry.daemon_state}): there is nothing to confirm")
        # Storage does not prove it for machines with disks of the node's own, which go on waiting for such a word.
        waits = entry.fence is not None and entry.fence.confirmed_by is Method.STORAGE
        if entry.fence is not None and entry.fence.confirmed and not (waits and fencing.affected(snapshot, self.node)):
            raise Conflict(f"the fence of node {self.node} is confirmed already, by {entry.fence.confirmed_by}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Confirming that node {self.node} is off")
        commit(run, lambda transaction: self._confirm(run, transaction))
        return {"message": f"Node {self.node} is off by your word; its VMs are started on other nodes"}

    def _confirm(self, run: Run, transaction: Transaction) -> None:
        state, now = run.tools.state, run.tools.clock.now()
        found = state.find(records.fence(self.node))
        if found is not None and found.value.confirmed:
            transaction.update(found, replace(found.value, confirmed_by=Method.HAND))
            return
        if found is not None:
            entry = FenceEntry(found.value, found.version)
        else:  # the cluster may not fence it: in maintenance, or without a method
            node = state.get(records.node(self.node)).value
            entry = FenceEntry(fencing.new_fence(node, now, "an administrator says that it is off"), -1)
        empty = run.tools.config.fencing.successful_fence == "migrate"
        fences.confirm(state, transaction, entry, Method.HAND, now, empty=empty)
