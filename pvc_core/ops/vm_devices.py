"""Devices of a machine that may be running, and the locks of its disks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model.domain import parse, parse_device
from pvc_core.model.domain_edit import add_device, complete_device, find_device, has_device, remove_device
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.task import Role
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    VmOperation,
    check_devices,
    find_led_vm,
    require_holder_answers,
    spec_of,
    vm_lock,
    volume_lock,
    volumes_of,
    xml_of,
)
from pvc_core.ops.steps import change, change_xml, read_vm, write_xml
from pvc_core.state import records

log = logging.getLogger(__name__)

DETACH_TIMEOUT = 30.0  # seconds that a guest has to let a device go


@dataclass(frozen=True)
class _DeviceOperation(VmOperation):
    """On one device of a machine; where that runs, its own node's hypervisor is needed."""

    xml: str

    def __post_init__(self) -> None:
        parse_device(self.xml)

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        disk = parse_device(self.xml).disk
        volumes = [volume_lock(disk.volume)] if disk and disk.volume else []
        return (vm_lock(self.vm), *volumes)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        entry = snapshot.vms.get(self.vm)
        return (entry.holder or None) if entry is not None else None

    def _find(self, snapshot: ClusterSnapshot) -> VmEntry:
        entry = find_led_vm(snapshot, self.vm)
        require_holder_answers(snapshot, entry)
        return entry

    def _find_here(self, run: Run) -> VmEntry:
        """Raises Conflict when the machine was started or moved while this waited for its turn."""
        entry = read_vm(run, self.vm)
        if entry.holder not in ("", run.tools.config.node.name):
            raise Conflict(f"VM {entry.vm.name} runs on node {entry.holder} meanwhile: try again")
        return entry


@dataclass(frozen=True)
class VmAttach(_DeviceOperation):
    """Add a device to the definition, and plug it in where the machine runs; only that when the definition has it. A
    network card without an address is given one when this is built."""

    task_name = "vm.attach"
    summary = "Attach a device to a VM"

    def __post_init__(self) -> None:
        object.__setattr__(self, "xml", complete_device(self.xml, SystemRandom()))
        parse_device(self.xml)

    def check(self, snapshot: ClusterSnapshot) -> None:
        self._find(snapshot)
        stored = xml_of(snapshot, self.vm)
        if not has_device(stored, self.xml):
            stored = add_device(stored, self.xml)
        check_devices(snapshot, parse(stored), self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        entry = self._find_here(run)
        run.plan(1 + bool(entry.holder))
        run.step("Writing the definition")
        stored = run.tools.state.get(records.vm_xml(self.vm)).value
        if not has_device(stored, self.xml):
            change_xml(run, self.vm, add_device(stored, self.xml))
        if entry.holder:
            run.step("Plugging the device in")
            change(
                run,
                lambda: run.tools.hypervisor.attach(self.vm, self.xml),
                f"VM {entry.vm.name} has the device plugged in",
                lambda: self._take_out_again(run),
            )
        return {"message": f"The device is attached to VM {entry.vm.name}"}

    def _take_out_again(self, run: Run) -> None:
        try:
            run.tools.hypervisor.detach(self.vm, self.xml, DETACH_TIMEOUT)
        except NotFound:
            log.info("VM %s has not got the device", self.vm)


@dataclass(frozen=True)
class VmDetach(_DeviceOperation):
    """Unplug a device where the machine runs, and take it out of the definition. A device that is gone from one of the
    two is taken from the other."""

    task_name = "vm.detach"
    summary = "Detach a device from a VM"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = self._find(snapshot)
        if not entry.holder:
            find_device(xml_of(snapshot, self.vm), self.xml)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        self._find(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        entry = self._find_here(run)
        run.plan(1 + bool(entry.holder))
        stored = run.tools.state.get(records.vm_xml(self.vm)).value
        try:
            device: str | None = find_device(stored, self.xml)
        except NotFound:
            device = None
        if entry.holder:
            run.step("Unplugging the device")
            self._unplug(run, device or self.xml, known=device is not None or run.attempt > 1)
        run.step("Writing the definition")
        if device is not None:
            write_xml(run, self.vm, remove_device(stored, device))
        return {"message": f"The device is detached from VM {entry.vm.name}"}

    def _unplug(self, run: Run, device: str, *, known: bool) -> None:
        """``known``: the definition had it, or an earlier attempt has begun; then it may be unplugged already."""
        try:
            change(
                run,
                lambda: run.tools.hypervisor.detach(self.vm, device, DETACH_TIMEOUT),
                "the device is unplugged",
                lambda: self._plug_in_again(run, device),
            )
        except NotFound:
            if not known:
                raise

    def _plug_in_again(self, run: Run, device: str) -> None:
        try:
            run.tools.hypervisor.attach(self.vm, device)
        except Conflict:
            log.info("VM %s has kept the device", self.vm)


@dataclass(frozen=True)
class VmFlushLocks(VmOperation):
    """Break the locks that a machine's disks kept when the node on which it ran died."""

    task_name = "vm.flush_locks"
    summary = "Break the locks of a VM's disks"
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (vm_lock(self.vm), *map(volume_lock, volumes_of(snapshot, self.vm)))

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_led_vm(snapshot, self.vm)
        if entry.holder:
            raise Conflict(f"VM {entry.vm.name} runs on node {entry.holder}, and needs its locks: stop it first")
        if not volumes_of(snapshot, self.vm):
            raise BadRequest(f"VM {entry.vm.name} has no disk in the cluster's storage")

    def execute(self, run: Run) -> Mapping[str, Any]:
        volumes = spec_of(run.snapshot, self.vm).volumes
        run.plan(len(volumes))
        broken = 0
        for full_name in volumes:
            run.step(f"Breaking the locks of volume {full_name}")
            broken += run.tools.blocks.break_locks(*full_name.split("/", 1))
            run.commit_point()
        return {"message": f"{broken} locks are broken", "broken": broken}
