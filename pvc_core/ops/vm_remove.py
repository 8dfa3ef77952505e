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
    vm_lock,
    volume_lock,
    volumes_of,
)
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
        _find_removable(snapshot, self.vm)

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
    """Stop a machine, remove its disks and then the machine, so that what is broken off is found and done again."""

    task_name = "vm.remove"
    summary = "Remove a VM with its disks"
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (vm_lock(self.vm), *map(volume_lock, volumes_of(snapshot, self.vm)))

    def check(self, snapshot: ClusterSnapshot) -> None:
        _find_removable(snapshot, self.vm)
        for full_name in volumes_of(snapshot, self.vm):
            require_unused_volume(snapshot, full_name, but=self.vm)
            volume = snapshot.volumes.get(full_name)
            if volume is not None and volume.snapshot_count:
                raise Conflict(f"volume {full_name} has {volume.snapshot_count} snapshots: remove them first")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.vm in snapshot.vms:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        if self.vm not in run.snapshot.vms:
            return {"message": "The VM is removed"}
        volumes = volumes_of(run.snapshot, self.vm)
        run.plan(2 + len(volumes))
        run.step("Stopping the VM")
        vm = stop(run, self.vm, VmState.DISABLE)
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
    require_holder_answers(snapshot, entry)
    return entry


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
