"""Export a machine's snapshot to a directory of a node, or to a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, find_vm
from pvc_core.ops.export_steps import Export, check_node, check_parent, export_snapshot, reading_locks
from pvc_core.ops.meter import readable
from pvc_core.ops.snapshot_steps import find_vm_snapshot


@dataclass(frozen=True)
class VmSnapshotExport(VmOperation):
    """``path`` is a directory of ``node`` or a store; the export lies in ``<machine>/<snapshot>/`` below it. With
    ``parent``, another snapshot whose export is there, only what differs from that. Any node can read the disks, so
    this needs not the machine's own; and the machine can be started, moved and stopped meanwhile."""

    snapshot: str
    path: str
    node: str
    parent: str = ""
    verify: bool = False

    task_name = "vm.snapshot.export"
    summary = "Export a snapshot of a VM"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return reading_locks(self.vm, self.snapshot, self.parent)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_node(snapshot, self.node)
        check_parent(snapshot, find_vm_snapshot(snapshot, self.vm, self.snapshot), self.parent)

    def execute(self, run: Run) -> Mapping[str, Any]:
        export = self.export(run.snapshot)
        run.plan(export.steps)
        manifest = export_snapshot(run, export)
        where = f"{self.path} ({readable(manifest.stored)})"
        message = f"Snapshot {self.snapshot} of VM {export.vm_name} is exported to {where}"
        return {"message": message, "bytes": manifest.stored, "full": manifest.full}

    def export(self, snapshot: ClusterSnapshot) -> Export:
        parent = find_vm_snapshot(snapshot, self.vm, self.parent) if self.parent else None
        taken = find_vm_snapshot(snapshot, self.vm, self.snapshot)
        return Export(taken, self.path, find_vm(snapshot, self.vm).vm.name, parent, verify=self.verify)
