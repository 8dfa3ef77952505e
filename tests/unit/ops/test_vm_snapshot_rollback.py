"""A machine becomes what it was at a snapshot, wholly or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import Cancelled, Conflict, DriverUnavailable, Failed
from pvc_core.model.domain_edit import set_name
from pvc_core.model.vm import Tag, VmMeta, VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.common import snapshot_lock
from pvc_core.ops.vm_power import VmStart
from pvc_core.ops.vm_remove import VmRemove
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove, VmSnapshotRollback
from pvc_core.state import records
from pvc_core.state.records import Lock
from tests.unit.ops.house import House, Watcher, xml
from tests.unit.ops.snapshots import (
    DISKS,
    LATER,
    after,
    before,
    fail,
    in_step,
    kill,
    leave,
    machine,
    write,
)


def test_rollback_brings_back_the_disks_and_the_configuration(house: House) -> None:
    uuid = machine(house, VmState.STOP, tags=(Tag("web"),), meta=VmMeta(priority=7))
    write(house, "disk1", b"then")
    house.run(VmSnapshotCreate(uuid, "first"))
    then = house.state.get(records.vm_xml(uuid)).value
    write(house, "disk1", b"now")
    write(house, "log1", b"now")
    domain = house.state.get(records.vm_xml(uuid))
    house.state.transaction().update(domain, xml("vm1", uuid=uuid, memory=1024, disks=DISKS[:1])).commit()
    house.change(uuid, tags=(), meta=VmMeta(), size=replace(house.vm(uuid).size, memory=1024))
    house.run(VmSnapshotRollback(uuid, "first"))
    assert [house.blocks.image("vms", name).content for name in ("disk1", "log1")] == [b"then", b""]
    assert house.state.get(records.vm_xml(uuid)).value == then
    vm = house.vm(uuid)
    assert (vm.tags, vm.meta, vm.size.memory, vm.state) == ((Tag("web"),), VmMeta(priority=7), 512, VmState.STOP)
    assert in_step(house)
    house.run(VmStart(uuid))


def test_rollback_may_keep_the_configuration(house: House) -> None:
    uuid = machine(house, VmState.DISABLE)
    write(house, "disk1", b"then")
    house.run(VmSnapshotCreate(uuid, "first"))
    write(house, "disk1", b"now")
    now = xml("vm1", uuid=uuid, memory=1024, disks=DISKS)
    house.state.transaction().update(house.state.get(records.vm_xml(uuid)), now).commit()
    house.run(VmSnapshotRollback(uuid, "first", keep_config=True))
    assert house.blocks.image("vms", "disk1").content == b"then"
    assert house.state.get(records.vm_xml(uuid)).value == now
    assert house.vm(uuid).state is VmState.DISABLE


def test_a_machine_keeps_its_name_in_a_rollback(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    domain = house.state.get(records.vm_xml(uuid))
    house.state.transaction().update(domain, set_name(domain.value, "renamed")).commit()
    house.change(uuid, name="renamed")
    house.run(VmSnapshotRollback(uuid, "first"))
    assert house.vm(uuid).name == "renamed"
    assert "<name>renamed</name>" in house.state.get(records.vm_xml(uuid)).value


def test_a_configuration_that_does_not_fit_any_more_is_not_put_back(house: House) -> None:
    uuid = machine(house, VmState.STOP, meta=VmMeta(node_limit=("n1", "n9")))
    house.run(VmSnapshotCreate(uuid, "first"))
    earlier = house.picture()
    with pytest.raises(Conflict, match=r"no node 'n9'.*keep the present one"):
        house.run(VmSnapshotRollback(uuid, "first"))
    assert house.picture() == earlier


def test_a_disk_that_another_machine_has_by_now_is_not_rolled_back(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    domain = house.state.get(records.vm_xml(uuid))
    house.state.transaction().update(domain, xml("vm1", uuid=uuid, disks=DISKS[:1])).commit()
    other = house.define(2)
    domain = house.state.get(records.vm_xml(other))
    house.state.transaction().update(domain, xml("vm2", uuid=other, disks=("vms/log1",))).commit()
    with pytest.raises(Conflict, match="vms/log1 is a disk of VM vm2"):
        house.run(VmSnapshotRollback(uuid, "first", keep_config=True))


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_rollback_that_breaks_off_is_completed_and_the_machine_not_started_meanwhile(house: House, call: int) -> None:
    uuid = machine(house, VmState.STOP, meta=VmMeta(node_autostart=True))
    for disk in DISKS:
        write(house, disk.split("/")[1], b"then")
    house.run(VmSnapshotCreate(uuid, "first"))
    for disk in DISKS:
        write(house, disk.split("/")[1], b"now")
    leave(house, VmSnapshotRollback(uuid, "first"), after(house, "rollback", kill, calls=call))
    assert house.vm(uuid).state is VmState.DISABLE
    house.run(VmSnapshotRollback(uuid, "first"), attempt=2)
    assert [house.blocks.image(*disk.split("/")).content for disk in DISKS] == [b"then"] * 3


def test_a_rollback_that_fails_says_how_far_it_came(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    blocks = before(house, "rollback", fail(DriverUnavailable("Ceph does not answer")), calls=2)
    with pytest.raises(Failed, match="volume vms/disk1 is not rolled back: Ceph does not answer") as caught:
        house.run(VmSnapshotRollback(uuid, "first"), blocks=blocks)
    assert "rolled back: vms/data1; not, or in part: vms/disk1, vms/log1" in caught.value.left[0]


def test_a_rollback_that_found_the_machine_started_says_so(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    leave(house, VmSnapshotRollback(uuid, "first"), after(house, "rollback", kill, calls=1))
    house.run(VmStart(uuid), task=LATER)
    with pytest.raises(Failed, match="is not stopped") as caught:
        house.run(VmSnapshotRollback(uuid, "first"), attempt=2)
    assert "disks may be rolled back to first in part" in caught.value.left[0]


def test_a_rollback_is_cancelled_before_it_began(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    earlier = house.picture()
    with pytest.raises(Cancelled):
        house.run(VmSnapshotRollback(uuid, "first"), watcher=Watcher(house, cancel_at="now", messages=["now"]))
    assert house.picture() == earlier


def test_a_snapshot_that_is_read_is_neither_removed_nor_rolled_back_to(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.run(VmSnapshotCreate(uuid, "second"))
    lock = records.lock(snapshot_lock(uuid, "first"))
    house.state.transaction().create(lock, Lock(LATER)).commit()
    operations: tuple[Operation, ...] = (
        VmSnapshotRemove(uuid, "first"),
        VmSnapshotRollback(uuid, "first"),
        VmRemove(uuid),
    )
    for operation in operations:
        with pytest.raises(Conflict, match="in use by task"):
            house.run(operation)
    house.run(VmSnapshotRemove(uuid, "second"))
