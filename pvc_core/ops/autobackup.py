"""Backups by schedule: of all its machines, and of each one.

A run takes a snapshot of every machine, and writes each to the target as an operation of its own. Increments differ
from the newest full backup, whose snapshot is kept for that; the snapshots of increments go once these are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, DriverError, Failed, PvcError
from pvc_core.model.backup import Backup, BackupPlan, Report, Retention
from pvc_core.model.manifest import Manifest
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.task import Lane
from pvc_core.model.vm_snapshot import Purpose, VmSnapshot
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import VmOperation, find_vm
from pvc_core.ops.export_steps import Export, export_snapshot, reading_locks
from pvc_core.ops.meter import readable
from pvc_core.ops.planned import STOPS, machines_of, mounted, outcomes_of, send, send_patiently, tell
from pvc_core.ops.snapshot_steps import find_vm_snapshot, timestamp_name
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from pvc_core.ports import BackupTarget
from pvc_core.rules.retention import judge, next_is_full
from pvc_core.transfer.backup import MANIFEST, exports, prefix_of, remove_export

SNAPSHOT_TIMEOUT = 600.0  # seconds for the snapshots of all machines
BACKUP_TIMEOUT = 7 * 86400.0  # seconds for their backups; a cancelled run ends at once
BACKUPS_AT_ONCE = 2  # as many as a node's bulk lane carries unless it is told otherwise


@dataclass(frozen=True)
class Autobackup(Operation):
    """Back up the machines of these schedules. What fails for one machine does not keep the others from it. ``mail``
    gets the reports beside those whom the schedules name. It waits for its tasks more than it works, so it leaves the
    bulk lane to them."""

    schedules: tuple[str, ...]
    force_full: bool = False
    mail: tuple[str, ...] = ()

    task_name = "vm.autobackup"
    summary = "Back up VMs by schedule"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return tuple(f"autobackup:{name}" for name in self.schedules)

    def check(self, snapshot: ClusterSnapshot) -> None:
        if not self.schedules:
            raise BadRequest("name at least one schedule of backups")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(3 * len(self.schedules))
        plans = [run.tools.schedules.backup(name) for name in self.schedules]
        run.mark_changed()
        reports = [self._back_up(run, plan) for plan in plans]
        run.commit_point()
        count = sum(len(report.outcomes) for report in reports)
        left = tuple(line for report in reports for line in report.failures)
        if left:
            raise Failed(f"not all of {count} VMs were backed up as they should be: {'; '.join(left)}", left=left)
        machines = {each.vm: each.message for report in reports for each in report.outcomes}
        return {"message": f"VMs backed up: {count}", "vms": machines}

    def _back_up(self, run: Run, plan: BackupPlan) -> Report:
        began, problems = run.tools.clock.now(), []
        failed: dict[str, str] = {}
        done: dict[str, str] = {}
        machines, missing = machines_of(run.snapshot, plan)
        problems += missing
        try:
            with mounted(run, plan, problems):
                failed = self._snapshot_and_write(run, plan, machines, snapshot := name_of(plan, began))
                done = self._tidy(run, plan, machines, snapshot, problems)
        except STOPS:
            raise
        except PvcError as error:
            problems.append(error.message)
            failed |= {entry.vm.uuid: "no backup was made" for entry in machines if entry.vm.uuid not in done}
        outcomes = outcomes_of(machines, failed, done)
        report = Report(
            run.snapshot.fsid, plan.name, "autobackup", began, run.tools.clock.now(), outcomes, tuple(problems)
        )
        return tell(run, plan, report, self.mail, plan.errors_only)

    def _snapshot_and_write(self, run: Run, plan: BackupPlan, machines: list[VmEntry], snapshot: str) -> dict[str, str]:
        """Why each machine failed that did, by uuid."""
        run.step(f"{plan.name}: taking snapshots of {len(machines)} VMs")
        creations = [VmSnapshotCreate(entry.vm.uuid, snapshot, Purpose.BACKUP) for entry in machines]
        failed = _reasons(send_patiently(run, creations, SNAPSHOT_TIMEOUT))
        run.step(f"{plan.name}: backing up {len(machines) - len(failed)} VMs")
        node = run.tools.config.node.name
        writes = [
            VmAutobackup(entry.vm.uuid, plan.name, snapshot, node, self.force_full)
            for entry in machines
            if entry.vm.uuid not in failed
        ]
        return failed | _reasons(send(run, writes, BACKUP_TIMEOUT, BACKUPS_AT_ONCE))

    def _tidy(
        self, run: Run, plan: BackupPlan, machines: list[VmEntry], snapshot: str, problems: list[str]
    ) -> dict[str, str]:
        """Remove the snapshots from which no further backup is made. What was written of each machine, by uuid."""
        run.step(f"{plan.name}: removing snapshots that are no longer needed")
        done: dict[str, str] = {}
        removals = []
        with run.tools.targets.open(plan.target) as target:
            for entry in machines:
                known = own_exports(target, entry, plan)
                parent = usable_parent(run.snapshot, known)
                if known and known[-1].snapshot.name == snapshot:
                    done[entry.vm.uuid] = _say(known[-1])
                removals += [
                    VmSnapshotRemove(entry.vm.uuid, taken.name)
                    for taken in run.snapshot.vm_snapshots.get(entry.vm.uuid, {}).values()
                    if taken.purpose is Purpose.BACKUP
                    and is_of(taken.name, plan)
                    and (parent is None or taken.name != parent.name)
                ]
        for operation, reason in send_patiently(run, removals, SNAPSHOT_TIMEOUT):
            if isinstance(operation, VmSnapshotRemove):
                problems.append(f"snapshot {operation.name} of VM {_title(run, operation.vm)} stays: {reason}")
        return done


@dataclass(frozen=True)
class VmAutobackup(VmOperation):
    """Write a snapshot to a schedule's target, check it if that is asked for, and remove what its retention no longer
    keeps. ``node`` is where the target is mounted."""

    schedule: str
    snapshot: str
    node: str
    full: bool = False

    task_name = "vm.autobackup.write"
    summary = "Write the backup of a VM"
    lane = Lane.BULK

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"backup:{self.schedule}:{self.vm}", *reading_locks(self.vm, self.snapshot))

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_vm_snapshot(snapshot, self.vm, self.snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        plan = run.tools.schedules.backup(self.schedule)
        taken = find_vm_snapshot(run.snapshot, self.vm, self.snapshot)
        entry = find_vm(run.snapshot, self.vm)
        with run.tools.targets.open(plan.target) as target:
            known = own_exports(target, entry, plan)
            wants_full = self.full or next_is_full(backups_of(known), plan.full_interval)
            parent = None if wants_full else usable_parent(run.snapshot, known)
            export = Export(
                taken, plan.target, entry.vm.name, parent, plan.recipients, compress=plan.compress, verify=plan.verify
            )
            run.plan(export.steps + 1)
            with run.holding(*reading_locks(self.vm, parent.name if parent else "")):
                manifest = export_snapshot(run, export)
                run.commit_point()
            run.step("Removing old backups")
            removed = _remove_old(target, entry, plan)
        return {"message": f"VM {entry.vm.name}: {_say(manifest)}", "backup": export.prefix, "removed": removed}


@dataclass(frozen=True)
class AutobackupPreview(Operation):
    """What the retention of a schedule would remove now, and why it keeps the others; or what another one would, as
    ``last=3,daily=7``."""

    schedule: str
    keep: str = ""

    task_name = "vm.autobackup.preview"
    summary = "Preview which backups a schedule would remove"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"autobackup:{self.schedule}",)

    def check(self, snapshot: ClusterSnapshot) -> None:
        Retention.parse(self.keep)

    def execute(self, run: Run) -> Mapping[str, Any]:
        plan = run.tools.schedules.backup(self.schedule)
        retention = Retention.parse(self.keep) if self.keep else plan.retention
        problems: list[str] = []
        run.step(f"Looking at {plan.target}")
        machines, _ = machines_of(run.snapshot, plan)
        with mounted(run, plan, problems), run.tools.targets.open(plan.target) as target:
            found = [
                {
                    "vm": entry.vm.name,
                    "backup": verdict.backup.name,
                    "time": verdict.backup.time,
                    "parent": verdict.backup.parent,
                    "keep": verdict.keep,
                    "why": verdict.why,
                }
                for entry in machines
                for verdict in judge(backups_of(own_exports(target, entry, plan)), retention)
            ]
        going = sum(not each["keep"] for each in found)
        message = f"Of {len(found)} backups of {len(machines)} VMs, {going} would be removed"
        return {"message": "; ".join([message, *problems]), "backups": found}


def name_of(plan: BackupPlan, now: float) -> str:
    """The name of a backup that is made now, which is that of its snapshot."""
    return f"backup-{plan.name}-{timestamp_name(now)}"


def is_of(name: str, plan: BackupPlan) -> bool:
    """Whether a snapshot or backup of this name was made by this schedule."""
    return name.rpartition("-")[0] == f"backup-{plan.name}"


def own_exports(target: BackupTarget, entry: VmEntry, plan: BackupPlan) -> list[Manifest]:
    """The complete backups that a schedule has made of a machine, oldest first."""
    return [
        manifest
        for manifest in exports(target, entry.vm.name)
        if manifest.vm == entry.vm.uuid and is_of(manifest.snapshot.name, plan)
    ]


def backups_of(manifests: list[Manifest]) -> list[Backup]:
    return [Backup(each.snapshot.name, each.snapshot.created, each.parent) for each in manifests]


def usable_parent(snapshot: ClusterSnapshot, known: list[Manifest]) -> VmSnapshot | None:
    """The snapshot of the newest full backup, if it is still there: from this one, increments differ."""
    for manifest in reversed(known):
        if manifest.full:
            taken = snapshot.vm_snapshots.get(manifest.vm, {}).get(manifest.snapshot.name)
            return taken if taken is not None and taken.created == manifest.snapshot.created else None
    return None


def _remove_old(target: BackupTarget, entry: VmEntry, plan: BackupPlan) -> list[str]:
    """Remove what is not to be kept, and what writers that died have left; the names of the former. The newest go
    first, so that an increment never outlives what it is restored from."""
    known = own_exports(target, entry, plan)
    names = list(target.names(f"{entry.vm.name}/"))
    begun = {name.split("/")[1] for name in names if name.count("/") > 1}
    unfinished = {name for name in begun if f"{prefix_of(entry.vm.name, name)}{MANIFEST}" not in names}
    removed = [verdict.backup.name for verdict in judge(backups_of(known), plan.retention) if not verdict.keep]
    for name in removed + sorted(name for name in unfinished if is_of(name, plan)):
        try:
            remove_export(target, prefix_of(entry.vm.name, name))
        except DriverError as error:
            raise DriverError(f"the backup is complete, but the old one {name} cannot be removed: {error}") from error
    return removed


def _say(manifest: Manifest) -> str:
    kind = "full backup" if manifest.full else f"increment on {manifest.parent}"
    stored = readable(manifest.stored)
    return f"{kind} {manifest.snapshot.name}, {stored}{', encrypted' if manifest.encrypted else ''}"


def _reasons(failed: list[tuple[Operation, str]]) -> dict[str, str]:
    return {operation.vm: reason for operation, reason in failed if isinstance(operation, VmOperation)}


def _title(run: Run, uuid: str) -> str:
    entry = run.snapshot.vms.get(uuid)
    return entry.vm.name if entry is not None else uuid
