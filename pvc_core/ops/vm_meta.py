"""What the cluster knows of a machine beside its XML: metadata, tags, its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model import vm as model
from pvc_core.model.domain_edit import set_name
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.model.vm import MigrationMethod, Selector, Tag, Vm, VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, check_meta, check_name, find_led_vm, find_vm
from pvc_core.ops.steps import commit, update_vm
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction
from pvc_core.state.records import Name


@dataclass(frozen=True)
class VmMeta(VmOperation):
    """None leaves a value as it is."""

    node_limit: tuple[str, ...] | None = None
    node_selector: Selector | None = None
    node_autostart: bool | None = None
    migration_method: MigrationMethod | None = None
    migration_max_downtime: int | None = None
    profile: str | None = None
    priority: int | None = None
    affinity: tuple[str, ...] | None = None
    anti_affinity: tuple[str, ...] | None = None

    task_name = "vm.meta"
    summary = "Change the metadata of a VM"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_meta(snapshot, self._apply(find_vm(snapshot, self.vm).vm).meta)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the metadata")
        vm = update_vm(run, self.vm, self._apply)
        return {"message": f"The metadata of VM {vm.name} is changed"}

    def _apply(self, vm: Vm) -> Vm:
        changes = {field.name: getattr(self, field.name) for field in fields(model.VmMeta)}
        return replace(vm, meta=replace(vm.meta, **{name: new for name, new in changes.items() if new is not None}))


@dataclass(frozen=True)
class VmTag(VmOperation):
    action: Literal["add", "remove"]
    tag: str
    protected: bool = False

    task_name = "vm.tag"
    summary = "Add or remove a tag of a VM"

    def check(self, snapshot: ClusterSnapshot) -> None:
        self._apply(find_vm(snapshot, self.vm).vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the tags")
        vm = update_vm(run, self.vm, self._apply)
        done = "has the tag" if self.action == "add" else "has no longer the tag"
        return {"message": f"VM {vm.name} {done} {self.tag}"}

    def _apply(self, vm: Vm) -> Vm:
        if self.action not in ("add", "remove"):
            raise BadRequest(f"action must be add or remove, not {self.action!r}")
        found = next((tag for tag in vm.tags if tag.name == self.tag), None)
        if self.action == "add":
            check_name("tag", self.tag)
            if found is not None:
                raise Conflict(f"VM {vm.name} has the tag {self.tag} already")
            return replace(vm, tags=(*vm.tags, Tag(self.tag, self.protected)))
        if found is None:
            raise NotFound(f"VM {vm.name} has no tag {self.tag}")
        if found.protected:
            raise Conflict(f"the tag {self.tag} of VM {vm.name} is protected")
        return replace(vm, tags=tuple(tag for tag in vm.tags if tag is not found))


@dataclass(frozen=True)
class VmRename(VmOperation):
    """The machine must be stopped, since libvirt knows a running one by its name."""

    new_name: str

    task_name = "vm.rename"
    summary = "Rename a VM"
    role = Role.ADMINISTRATOR

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_name("VM", self.new_name)
        entry = find_led_vm(snapshot, self.vm)
        if entry.vm.state not in (VmState.STOP, VmState.DISABLE) or entry.holder:
            raise Conflict(f"VM {entry.vm.name} must be stopped to be renamed (its state is {entry.vm.state})")
        if self.new_name == entry.vm.name:
            raise Conflict(f"VM {entry.vm.name} has that name already")
        if self.new_name in snapshot.vm_names:
            raise Conflict(f"the name {self.new_name} is taken by VM {snapshot.vm_names[self.new_name]}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the name")
        old = commit(run, partial(self._prepare, run.tools.state))
        return {"message": f"VM {old} is now VM {self.new_name}"}

    def _prepare(self, state: ClusterState, transaction: Transaction) -> str:
        vm, xml = state.get(records.vm(self.vm)), state.get(records.vm_xml(self.vm))
        if state.find(records.vm_name(self.new_name)) is not None:
            raise Conflict(f"the name {self.new_name} is taken")
        transaction.delete(state.get(records.vm_name(vm.value.name)))
        transaction.create(records.vm_name(self.new_name), Name(self.vm))
        transaction.update(vm, replace(vm.value, name=self.new_name))
        transaction.update(xml, set_name(xml.value, self.new_name))
        return vm.value.name
