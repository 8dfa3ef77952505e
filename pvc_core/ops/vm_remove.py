"""Take a machine away, with or without its disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import Conflict
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.task import Role
from pvc_core.model.vm import Vm, VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    VmOperation,
    find_vm,
    require_holder_answers,
    require_unused_volume,
    volumes_of,
)
from pvc_core.ops.snapshot_steps import removal_locks, remove_vm_snapshot
from pvc_core.ops.steps import commit
from pvc_core.ops.vm_power import stop
from pvc_core.ops.volume_steps import remove_volume
from pvc_core.state import records
from pvc_core.state.cluster import Transaction


@dataclass(frozen=True)
class VmUndefine(VmOperation):
    """Stop a machine and forget it. Its disks stay."""

    task_name = "vm.undefine"
    summary = "Remove a VM and keep its disks"
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = _find_removable(snapshot, self.vm)
        if names := ", ".join(sorted(snapshot.vm_snapshots.get(self.vm, {}))):
            raise Conflict(
                f"VM {entry.vm.name} has snapshots ({names}), whose configurations would be lost: remove them first, "
                "or the VM with its disks"
            )

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.vm in snapshot.vms:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        if self.vm not in run.snapshot.vms:
            return {"message": "The VM is undefined"}
        run.plan(2)
        run.step("Stopping the VM")
        vm = stop(run, self.vm, VmState.DISABLE)
        run.step("Removing the definition")
        _forget(run, self.vm)
        return {"message": f"VM {vm.name} is undefined"}


@dataclass(frozen=True)
class VmRemove(VmOperation):
    """Stop a machine, remove its snapshots, its disks and then the machine, so that what is broken off is found and
    done again."""

    task_name = "vm.remove"
    summary = "Remove a VM with its disks"
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return removal_locks(snapshot, self.vm, *snapshot.vm_snapshots.get(self.vm, {}))

    def check(self, snapshot: ClusterSnapshot) -> None:
        self._check_unused(snapshot)
        taken = snapshot.vm_snapshots.get(self.vm, {})
        own = sorted(
            f"{volume}@{name}" for volume, name in _snapshots_of_volumes(snapshot, self.vm) if name not in taken
        )
        if own:
            raise Conflict(f"volumes of the VM have snapshots of their own ({', '.join(own)}): remove them first")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """What snapshots the volumes have by now are what is left of the machine's."""
        if self.vm in snapshot.vms:
            self._check_unused(snapshot)

    def _check_unused(self, snapshot: ClusterSnapshot) -> None:
        _find_removable(snapshot, self.vm)
        for full_name in volumes_of(snapshot, self.vm):
            require_unused_volume(snapshot, full_name, but=self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        if self.vm not in run.snapshot.vms:
            return {"message": "The VM is removed"}
        volumes = volumes_of(run.snapshot, self.vm)
        taken = run.snapshot.vm_snapshots.get(self.vm, {})
        snapshots = sorted({name for _, name in _snapshots_of_volumes(run.snapshot, self.vm)} | taken.keys())
        run.plan(2 + len(snapshots) + len(volumes))
        run.step("Stopping the VM")
        vm = stop(run, self.vm, VmState.DISABLE)
        for name in snapshots:
            run.step(f"Removing snapshot {name}")
            remove_vm_snapshot(run, self.vm, name)
        for full_name in volumes:
            run.step(f"Removing volume {full_name}")
            remove_volume(run, *full_name.split("/", 1))
        run.step("Removing the definition")
        _forget(run, self.vm)
        return {"message": f"VM {vm.name} is removed", "volumes": list(volumes)}


def _find_removable(snapshot: ClusterSnapshot, uuid: str) -> VmEntry:
    entry = find_vm(snapshot, uuid)
    if entry.vm.migration is not None:
        raise Conflict(f"VM {entry.vm.name} is being moved to node {entry.vm.migration.target}")
    mirror = snapshot.mirrors.get(uuid)
    if mirror is not None:
        raise Conflict(f"VM {entry.vm.name} is mirrored with cluster {mirror.peer}: end that first (vm mirror remove)")
    require_holder_answers(snapshot, entry)
    return entry


def _snapshots_of_volumes(snapshot: ClusterSnapshot, uuid: str) -> set[tuple[str, str]]:
    """All snapshots that the machine's volumes have, each with the volume."""
    volumes = (snapshot.volumes.get(full_name) for full_name in volumes_of(snapshot, uuid))
    return {(volume.full_name, item.name) for volume in volumes if volume is not None for item in volume.snapshots}


def _forget(run: Run, uuid: str) -> Vm:
    """Delete all records of a machine in one transaction."""
    state = run.tools.state

    def prepare(transaction: Transaction) -> Vm:
        vm = state.get(records.vm(uuid))
        status = state.find(records.vm_status(uuid))
        if status is not None:
            transaction.delete(status)
        transaction.delete(state.get(records.vm_xml(uuid)))
        transaction.delete(state.get(records.vm_name(vm.value.name)))
        transaction.delete(vm)
        return vm.value

    return commit(run, prepare)
