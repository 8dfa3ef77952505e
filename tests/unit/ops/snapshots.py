"""A machine with three disks, and a Ceph that breaks off at a chosen call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.model.vm import DomainRun, VmState
from pvc_core.ops.base import Operation
from pvc_core.state import records
from tests.unit.ops.house import House, xml

LATER = "22222222-0000-0000-0000-000000000000"


DISKS = ("vms/disk1", "vms/log1", "vms/data1")


class Killed(BaseException):
    """The worker's process is killed."""


def machine(house: House, state: VmState = VmState.START, **fields: Any) -> str:
    """A machine with three disks."""
    uuid = house.define(1, VmState.STOP, **fields)
    for disk in DISKS[1:]:
        house.volume(disk.split("/")[1])
    domain = house.state.get(records.vm_xml(uuid))
    house.state.transaction().update(domain, xml("vm1", uuid=uuid, disks=DISKS)).commit()
    if state is not VmState.STOP:
        house.change(uuid, state=state)
        house.lab.cycle()
    return uuid


def write(house: House, disk: str, content: bytes) -> None:
    house.blocks.image("vms", disk).content = content


def names(house: House, disk: str) -> list[str]:
    return [snapshot.name for snapshot in house.blocks.inspect(*disk.split("/")).snapshots]


def in_step(house: House) -> bool:
    """Whether the records say of every volume what Ceph says."""
    images = {f"vms/{name}": house.blocks.inspect("vms", name) for name in house.blocks.volumes("vms")}
    return images == dict(house.view.snapshot().volumes)


def run_of(house: House, uuid: str) -> DomainRun:
    return house.hypervisor("n1").domains()[uuid].run


def listed(house: House, uuid: str) -> list[str]:
    return sorted(house.view.snapshot().vm_snapshots.get(uuid, {}))


def after(house: House, method: str, action: Callable[[], object], *, calls: int = 1) -> FakeBlocks:
    """Ceph, which does ``action`` after the given call of a method."""
    return _around(house, method, lambda: None, action, calls)


def before(house: House, method: str, action: Callable[[], object], *, calls: int = 1) -> FakeBlocks:
    return _around(house, method, action, lambda: None, calls)


def _around(
    house: House, method: str, first: Callable[[], object], then: Callable[[], object], calls: int
) -> FakeBlocks:
    counted: list[int] = []
    real = getattr(house.blocks, method)

    class Blocks:
        def __getattr__(self, name: str) -> Any:
            return call if name == method else getattr(house.blocks, name)

    def call(*arguments: Any) -> Any:
        counted.append(1)
        mine = len(counted) == calls
        if mine:
            first()
        result = real(*arguments)
        if mine:
            then()
        return result

    return Blocks()  # type: ignore[return-value]


def each_call(method: str) -> list[tuple[str, int]]:
    """Every call of an operation on three disks, each of which is also inspected before and after."""
    return [(method, call) for call in (1, 2, 3)] + [("inspect", call) for call in range(1, 7)]


def kill() -> None:
    raise Killed


def fail(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def leave(house: House, operation: Operation, blocks: FakeBlocks) -> None:
    """Run an operation whose worker is killed on the way: nothing that would follow happens, not even a release."""
    hypervisor = house.hypervisor("n1")

    class Hypervisor:
        def __getattr__(self, name: str) -> Any:
            return getattr(hypervisor, name)

        def release(self, uuid: str) -> None:
            if house.vm(uuid).held:
                raise Killed

    with pytest.raises(Killed):
        house.run(operation, blocks=blocks, hypervisor=Hypervisor())
