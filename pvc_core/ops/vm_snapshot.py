"""Snapshots of machines as a user asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import BadRequest, Conflict, Failed, NotFound, Refused
from pvc_core.model.domain import parse
from pvc_core.model.domain_edit import set_name
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.model.vm import Vm, VmState
from pvc_core.model.vm_snapshot import Purpose, VmConfig
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    VmOperation,
    check_devices,
    check_meta,
    find_settled_vm,
    find_vm,
    users_of_volume,
)
from pvc_core.ops.snapshot_steps import (
    check_new_vm_snapshot,
    create_vm_snapshot,
    find_vm_snapshot,
    removal_locks,
    remove_vm_snapshot,
    roll_back_disks,
    snapshot_locks,
    snapshot_node,
)
from pvc_core.ops.steps import change, commit, update_vm
from pvc_core.state import records
from pvc_core.state.cluster import Transaction


@dataclass(frozen=True)
class _SnapshotOperation(VmOperation):
    name: str


@dataclass(frozen=True)
class VmSnapshotCreate(_SnapshotOperation):
    """Snapshot all disks of a machine at one moment, and its configuration. It runs on, after a short standstill."""

    purpose: Purpose = Purpose.USER

    task_name = "vm.snapshot.create"
    summary = "Take a snapshot of a VM"
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return snapshot_locks(snapshot, self.vm)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return snapshot_node(snapshot, self.vm)

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_new_vm_snapshot(snapshot, self.vm, self.name)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.name not in snapshot.vm_snapshots.get(self.vm, {}):
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Taking snapshot {self.name}")
        taken = create_vm_snapshot(run, self.vm, self.name, self.purpose)
        title = find_vm(run.snapshot, self.vm).vm.name
        milliseconds = round(1000 * taken.stood_still)
        still = f"; the VM stood still for {milliseconds} ms" if milliseconds else ""
        return {
            "message": f"VM {title} has the snapshot {self.name}{still}",
            "snapshot_name": self.name,
            "quiesced": taken.snapshot.quiesced,
            "standstill_ms": milliseconds,
        }


@dataclass(frozen=True)
class VmSnapshotRemove(_SnapshotOperation):
    task_name = "vm.snapshot.remove"
    summary = "Remove a snapshot of a VM"
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return removal_locks(snapshot, self.vm, self.name)

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_vm_snapshot(snapshot, self.vm, self.name)
        mirror = snapshot.mirrors.get(self.vm)
        if mirror is not None and mirror.shared == self.name:
            raise Conflict(
                f"snapshot {self.name} is what this side has in common with cluster {mirror.peer}: it goes when a "
                "newer one was sent, or the mirror is ended"
            )

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        find_vm(snapshot, self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Removing snapshot {self.name}")
        remove_vm_snapshot(run, self.vm, self.name)
        return {"message": f"The snapshot {self.name} of VM {find_vm(run.snapshot, self.vm).vm.name} is removed"}


@dataclass(frozen=True)
class VmSnapshotRollback(_SnapshotOperation):
    """Make the disks of a stopped machine what they were, and its configuration too unless ``keep_config``. The machine
    keeps its name and its node; disks that it got since stay as volumes."""

    keep_config: bool = False

    task_name = "vm.snapshot.rollback"
    summary = "Roll a VM back to a snapshot"
    role = Role.ADMINISTRATOR
    lane = Lane.BULK
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return removal_locks(snapshot, self.vm, self.name)

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_settled_vm(snapshot, self.vm)
        taken = find_vm_snapshot(snapshot, self.vm, self.name)
        if entry.holder or entry.vm.state not in (VmState.STOP, VmState.DISABLE):
            raise Conflict(f"VM {entry.vm.name} is not stopped (its state is {entry.shown_state}): stop it first")
        for disk in taken.disks:
            if disk.volume not in snapshot.volumes:
                raise Conflict(f"volume {disk.volume}, which is part of the snapshot, does not exist any more")
            for user, _ in users_of_volume(snapshot, disk.volume, but=self.vm):
                raise Conflict(f"volume {disk.volume} is a disk of VM {user.vm.name} by now: detach it there first")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        try:
            self.check(snapshot)
        except Refused as error:
            raise Failed(
                str(error), left=(f"disks may be rolled back to {self.name} in part: roll back again",)
            ) from None

    def execute(self, run: Run) -> Mapping[str, Any]:
        taken = find_vm_snapshot(run.snapshot, self.vm, self.name)
        config = run.tools.state.get(records.vm_snapshot_config(self.vm, self.name)).value
        before = find_vm(run.snapshot, self.vm).vm
        if not self.keep_config:
            _check_config(run.snapshot, self.vm, config)
        run.plan(len(taken.disks) + 1)
        change(
            run,
            lambda: _set_state(run, self.vm, VmState.DISABLE),  # which keeps its node from starting it meanwhile
            f"VM {before.name} is disabled",
            lambda: _set_state(run, self.vm, before.state),
        )
        roll_back_disks(run, taken)
        run.step("Putting the configuration back" if not self.keep_config else "Completing the rollback")
        _put_back(run, before, None if self.keep_config else config)
        kept = ", with its present configuration" if self.keep_config else ""
        return {"message": f"VM {before.name} is rolled back to the snapshot {self.name}{kept}"}


def _check_config(snapshot: ClusterSnapshot, uuid: str, config: VmConfig) -> None:
    """Raise Conflict when the cluster has no longer what the machine was made of then."""
    try:
        check_devices(snapshot, parse(config.xml), uuid)
        check_meta(snapshot, config.meta)
    except (BadRequest, NotFound, Conflict) as error:
        raise Conflict(
            f"the configuration of the snapshot does not fit any more: {error}; keep the present one"
        ) from None


def _set_state(run: Run, uuid: str, state: VmState) -> None:
    update_vm(run, uuid, lambda vm: replace(vm, state=state))


def _put_back(run: Run, before: Vm, config: VmConfig | None) -> None:
    """Give the machine its state back, and the XML, the metadata and the tags of ``config`` under its present name."""

    def prepare(transaction: Transaction) -> None:
        vm, xml = run.tools.state.get(records.vm(before.uuid)), run.tools.state.get(records.vm_xml(before.uuid))
        put_back = replace(vm.value, state=before.state)
        if config is not None:
            then = set_name(config.xml, before.name) if parse(config.xml).name != before.name else config.xml
            transaction.update(xml, then)
            put_back = replace(put_back, meta=config.meta, tags=config.tags, size=parse(then).size)
        transaction.update(vm, put_back)

    commit(run, prepare)
