"""The older backup commands: a snapshot and its export under a name made of the time, and both removed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import Conflict, Failed, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.model.vm_snapshot import Purpose
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import VmOperation, check_name
from pvc_core.ops.export_steps import check_node, export_snapshot, reading_locks
from pvc_core.ops.meter import readable
from pvc_core.ops.snapshot_steps import check_new_vm_snapshot, find_vm_snapshot, removal_locks, remove_vm_snapshot
from pvc_core.ops.vm_export import VmSnapshotExport
from pvc_core.ops.vm_import import VmSnapshotImport
from pvc_core.ops.vm_snapshot import VmSnapshotCreate
from pvc_core.transfer import backup

SNAPSHOT_TIMEOUT = 300.0  # seconds for the snapshot, which waits its turn on the machine's node


@dataclass(frozen=True)
class VmBackupCreate(VmOperation):
    """``name`` is the backup's and its snapshot's. ``path`` is a directory of ``node`` or a store. With ``parent``, the
    name of a backup that is there and whose snapshot was retained, only what differs from that."""

    name: str
    path: str
    node: str
    parent: str = ""
    retain_snapshot: bool = False

    task_name = "vm.backup.create"
    summary = "Back up a VM"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return reading_locks(self.vm, self.name, self.parent)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_new_vm_snapshot(snapshot, self.vm, self.name)
        self.check_again(snapshot)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        check_node(snapshot, self.node)
        if self.parent:
            find_vm_snapshot(snapshot, self.vm, self.parent)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(3 + (not self.retain_snapshot))
        run.step(f"Taking snapshot {self.name}")
        self._take(run)
        export = VmSnapshotExport(self.vm, self.name, self.path, self.node, self.parent).export(run.snapshot)
        manifest = export_snapshot(run, export)
        run.commit_point()
        if not self.retain_snapshot:
            run.step(f"Removing snapshot {self.name}")
            self._remove(run)
        where = f"{self.path} ({readable(manifest.stored)})"
        return {
            "message": f"Backup {self.name} of VM {export.vm_name} is written to {where}",
            "backup_datestring": self.name,
            "bytes": manifest.stored,
            "full": manifest.full,
        }

    def _take(self, run: Run) -> None:
        """On the machine's own node, which can hold it still for a moment."""
        run.undo(f"snapshot {self.name} of the VM is there", lambda: self._remove(run))
        if self.name not in run.snapshot.vm_snapshots.get(self.vm, {}):  # else an earlier attempt took it
            creation = VmSnapshotCreate(self.vm, self.name, Purpose.BACKUP)
            for _, reason in run.progress.wait_children([creation], SNAPSHOT_TIMEOUT, 1, lambda _: None):
                raise Failed(f"the snapshot was not taken: {reason}")
            run.tools.view.settle()

    def _remove(self, run: Run) -> None:
        run.tools.view.settle()
        if self.name not in run.snapshot.vm_snapshots.get(self.vm, {}):
            return
        held = self.locks(run.snapshot)
        more = (lock for lock in removal_locks(run.snapshot, self.vm, self.name) if lock not in held)
        with run.holding(*more):
            remove_vm_snapshot(run, self.vm, self.name)


@dataclass(frozen=True)
class VmBackupRemove(Operation):
    """``vm`` is the machine's name, which need not be there any more."""

    vm: str
    name: str
    path: str
    node: str

    task_name = "vm.backup.remove"
    summary = "Remove a backup of a VM"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.vm

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        uuid = self._uuid(snapshot)
        return removal_locks(snapshot, uuid, self.name) if uuid else (f"backup:{self.vm}:{self.name}",)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_name("VM", self.vm)
        check_name("backup", self.name)
        check_node(snapshot, self.node)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(2)
        prefix = backup.prefix_of(self.vm, self.name)
        with run.tools.targets.open(self.path) as target:
            run.step(f"Removing {prefix}")
            if run.attempt == 1 and next(target.names(prefix), None) is None:
                raise NotFound(f"{self.path} has no backup {self.name} of VM {self.vm}")
            needed = [each.snapshot.name for each in backup.exports(target, self.vm) if each.parent == self.name]
            if needed:
                raise Conflict(f"backups that differ from it need it: {', '.join(needed)}; remove them first")
            run.commit_point()
            backup.remove_export(target, prefix)
        uuid = self._uuid(run.snapshot)
        taken = run.snapshot.vm_snapshots.get(uuid, {}).get(self.name)
        if taken is not None and taken.purpose is Purpose.BACKUP:
            run.step(f"Removing snapshot {self.name}")
            remove_vm_snapshot(run, uuid, self.name)
        return {"message": f"Backup {self.name} of VM {self.vm} is removed from {self.path}"}

    def _uuid(self, snapshot: ClusterSnapshot) -> str:
        return snapshot.vm_names.get(self.vm, "")


@dataclass(frozen=True)
class VmRestore(VmSnapshotImport):
    task_name = "vm.restore"
    summary = "Restore a VM from a backup"
