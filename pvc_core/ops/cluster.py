"""Operations on the cluster as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.steps import commit
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.state.records import Maintenance


@dataclass(frozen=True)
class ClusterMaintenance(Operation):
    """In maintenance, nodes that go away are neither fenced nor counted against the cluster's health."""

    enabled: bool

    task_name = "cluster.maintenance"
    summary = "Turn maintenance mode on or off"
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return ("maintenance",)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the mode")
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Maintenance mode is {'on' if self.enabled else 'off'}"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        entry = run.tools.state.find(records.MAINTENANCE)
        if entry is None:
            transaction.create(records.MAINTENANCE, Maintenance(self.enabled))
        elif entry.value.enabled != self.enabled:
            transaction.update(entry, Maintenance(self.enabled))
