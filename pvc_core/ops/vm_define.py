"""Define a machine, and change what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import Any

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model import vm as model
from pvc_core.model.domain import DomainSpec, parse
from pvc_core.model.domain_edit import complete, set_uuid
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.model.vm import MigrationMethod, Selector, Tag, Vm, VmState
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import (
    VmOperation,
    check_devices,
    check_memory,
    check_meta,
    check_name,
    find_led_vm,
    require_holder_answers,
    vm_lock,
    volume_lock,
    volumes_of,
)
from pvc_core.ops.steps import change_xml, commit, raise_generation, read_vm, wait_running
from pvc_core.rules.placement import check_node, choose_node
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.state.records import Name


@dataclass(frozen=True)
class VmDefine(Operation):
    """A uuid and network addresses that the XML lacks are drawn when this is built, so that its arguments have them.
    Building it raises BadRequest for XML that is no domain."""

    xml: str
    node: str = ""
    node_limit: tuple[str, ...] = ()
    node_selector: Selector = Selector.NONE
    node_autostart: bool = False
    migration_method: MigrationMethod = MigrationMethod.NONE
    migration_max_downtime: int = 300
    user_tags: tuple[str, ...] = ()
    protected_tags: tuple[str, ...] = ()
    profile: str = ""
    priority: int = 0
    affinity: tuple[str, ...] = ()
    anti_affinity: tuple[str, ...] = ()

    task_name = "vm.define"
    summary = "Define a VM"
    role = Role.ADMINISTRATOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "xml", complete(self.xml, SystemRandom()))

    @property
    def spec(self) -> DomainSpec:
        return parse(self.xml)

    @property
    def meta(self) -> model.VmMeta:
        return model.VmMeta(
            node_limit=self.node_limit,
            node_selector=self.node_selector,
            node_autostart=self.node_autostart,
            migration_method=self.migration_method,
            migration_max_downtime=self.migration_max_downtime,
            profile=self.profile,
            priority=self.priority,
            affinity=self.affinity,
            anti_affinity=self.anti_affinity,
        )

    @property
    def vm(self) -> Vm:
        """The new machine's record, which has no node yet."""
        spec = self.spec
        return Vm(spec.uuid, spec.name, VmState.STOP, "", meta=self.meta, tags=self._tags(), size=spec.size)

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.spec.name

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (vm_lock(self.spec.uuid), *map(volume_lock, self.spec.volumes))

    def check(self, snapshot: ClusterSnapshot) -> None:
        spec = self.spec
        check_name("VM", spec.name)
        for tag in (*self.user_tags, *self.protected_tags):
            check_name("tag", tag)
        if spec.name in snapshot.vm_names:
            raise Conflict(f"the name {spec.name} is taken by VM {snapshot.vm_names[spec.name]}")
        if spec.uuid in snapshot.vms:
            raise Conflict(f"the uuid {spec.uuid} is taken by VM {snapshot.vms[spec.uuid].vm.name}")
        check_meta(snapshot, self.meta)
        check_devices(snapshot, spec, spec.uuid)
        check_memory(snapshot, spec)
        self._place(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the definition")
        vm = self.write(run)
        message = f"VM {vm.name} is defined on node {vm.node}"
        return {"message": message, "uuid": vm.uuid, "name": vm.name, "node": vm.node}

    def write(self, run: Run, also: Callable[[Transaction], object] = lambda _: None) -> Vm:
        """Write the new machine's records, and in the same transaction what ``also`` puts into it."""
        vm = replace(self.vm, node=self._place(run.snapshot))

        def prepare(transaction: Transaction) -> None:
            if run.tools.state.find(records.vm_name(vm.name)) is not None:
                raise Conflict(f"the name {vm.name} was taken just now")
            transaction.create(records.vm_name(vm.name), Name(vm.uuid))
            transaction.create(records.vm(vm.uuid), vm)
            transaction.create(records.vm_xml(vm.uuid), self.xml)
            also(transaction)

        commit(run, prepare)
        return vm

    def _place(self, snapshot: ClusterSnapshot) -> str:
        """The node that was asked for, or else the best one. It needs room for the machine, though not yet now."""
        if not self.node:
            return choose_node(snapshot, self.vm, 0)
        check_node(snapshot, self.node, self.vm, 0)
        return self.node

    def _tags(self) -> tuple[Tag, ...]:
        protected = set(self.protected_tags)
        return tuple(Tag(name, name in protected) for name in dict.fromkeys((*self.user_tags, *self.protected_tags)))


@dataclass(frozen=True)
class VmModify(VmOperation):
    """Replace the XML. A running machine takes it up when it is started anew: at once with ``restart``."""

    xml: str
    restart: bool = False

    task_name = "vm.modify"
    summary = "Change the definition of a VM"
    role = Role.ADMINISTRATOR

    def __post_init__(self) -> None:
        xml = self.xml if parse(self.xml).uuid else set_uuid(self.xml, self.vm)
        object.__setattr__(self, "xml", complete(xml, SystemRandom()))

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        volumes = {*volumes_of(snapshot, self.vm), *parse(self.xml).volumes}
        return (vm_lock(self.vm), *map(volume_lock, sorted(volumes)))

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_led_vm(snapshot, self.vm)
        spec = parse(self.xml)
        if spec.uuid != self.vm:
            raise BadRequest(f"the XML has the uuid {spec.uuid}, and VM {entry.vm.name} has {self.vm}, which stays")
        if spec.name != entry.vm.name:
            raise BadRequest(f"the XML has the name {spec.name}: rename VM {entry.vm.name} with the rename command")
        check_devices(snapshot, spec, self.vm)
        check_memory(snapshot, spec)
        if self.restart:
            require_holder_answers(snapshot, entry)

    def execute(self, run: Run) -> Mapping[str, Any]:
        before = read_vm(run, self.vm)
        restarts = self.restart and before.vm.state is VmState.START
        run.plan(1 + restarts)
        run.step("Writing the definition")
        if restarts:  # last of the undos: a restart with the old definition answers one with the new
            run.undo("the VM is not restarted", lambda: self._restart_again(run, before.vm.generation))
        change_xml(run, self.vm, self.xml)
        if restarts:
            run.step("Restarting the VM")
            wait_running(run, raise_generation(run, self.vm))
        later = "" if restarts or not before.holder else "; it applies when the VM is restarted"
        return {"message": f"VM {before.vm.name} is changed{later}"}

    def _restart_again(self, run: Run, generation: int) -> None:
        if read_vm(run, self.vm).vm.generation != generation:
            raise_generation(run, self.vm)
