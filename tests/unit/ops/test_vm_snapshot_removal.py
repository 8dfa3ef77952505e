"""Snapshots of machines are removed whole, alone or with their machine."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pvc_core.errors import Conflict, DriverUnavailable, Failed, NotFound
from pvc_core.model.vm import VmState
from pvc_core.ops import snapshot_steps
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation
from pvc_core.ops.vm_remove import VmRemove, VmUndefine
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from tests.unit.ops.house import House
from tests.unit.ops.snapshots import (
    DISKS,
    after,
    before,
    each_call,
    fail,
    kill,
    leave,
    listed,
    machine,
    names,
)


@dataclass(frozen=True)
class Removal(VmOperation):
    """One that removes a snapshot as a part of what it does."""

    name: str

    task_name = "test.removal"
    summary = "Remove a snapshot among other things"

    def execute(self, run: Run) -> None:
        snapshot_steps.remove_vm_snapshot(run, self.vm, self.name)


def test_remove_takes_the_record_and_the_snapshots_of_all_disks(house: House) -> None:
    uuid = machine(house)
    earlier = house.picture()
    house.run(VmSnapshotCreate(uuid, "first"))
    house.run(VmSnapshotCreate(uuid, "second"))
    house.run(VmSnapshotRemove(uuid, "first"))
    assert listed(house, uuid) == ["second"]
    assert all(names(house, disk) == ["second"] for disk in DISKS)
    house.run(VmSnapshotRemove(uuid, "second"))
    assert house.picture() == earlier


def test_a_protected_snapshot_is_not_removed(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.blocks.protect_snapshot("vms", "log1", "first", True)
    earlier = house.picture()
    with pytest.raises(Conflict, match="volume vms/log1 is protected"):
        house.run(VmSnapshotRemove(uuid, "first"))
    assert house.picture() == earlier


@pytest.mark.parametrize(("method", "call"), each_call("remove_snapshot"))
def test_a_removal_that_breaks_off_is_not_listed_and_is_completed(house: House, method: str, call: int) -> None:
    uuid = machine(house)
    earlier = house.picture()
    house.run(VmSnapshotCreate(uuid, "first"))
    leave(house, VmSnapshotRemove(uuid, "first"), after(house, method, kill, calls=call))
    assert listed(house, uuid) == ([] if method == "remove_snapshot" or call > 3 else ["first"])
    house.run(VmSnapshotRemove(uuid, "first"), attempt=2)
    assert house.picture() == earlier


def test_a_removal_that_fails_says_what_is_left(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    blocks = before(house, "remove_snapshot", fail(DriverUnavailable("Ceph does not answer")), calls=2)
    with pytest.raises(Failed) as caught:
        house.run(VmSnapshotRemove(uuid, "first"), blocks=blocks)
    assert "what it had done by then stands" in caught.value.left
    assert listed(house, uuid) == []


def test_a_machine_that_is_removed_takes_its_snapshots_with_it(house: House) -> None:
    earlier = house.picture()
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.run(VmSnapshotCreate(uuid, "second"))
    house.run(VmRemove(uuid))
    assert house.picture() == earlier


def test_a_machine_whose_volumes_have_snapshots_of_their_own_is_not_removed(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.volume_snapshot("log1", "mine")
    earlier = house.picture()
    with pytest.raises(Conflict, match=r"snapshots of their own \(vms/log1@mine\)"):
        house.run(VmRemove(uuid))
    assert house.picture() == earlier


@pytest.mark.parametrize(("method", "call"), each_call("remove_snapshot"))
def test_a_machine_whose_removal_broke_off_is_removed(house: House, method: str, call: int) -> None:
    earlier = house.picture()
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    leave(house, VmRemove(uuid), after(house, method, kill, calls=call))
    house.run(VmRemove(uuid), attempt=2)
    assert house.picture() == earlier


def test_a_snapshot_of_a_volume_outlives_the_removal_of_one_that_is_not_there(house: House) -> None:
    uuid = machine(house)
    house.volume_snapshot("log1", "mine")
    earlier = house.picture()
    house.run(Removal(uuid, "mine"))
    assert house.picture() == earlier


def test_a_machine_with_snapshots_is_not_undefined(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    earlier = house.picture()
    with pytest.raises(Conflict, match=r"has snapshots \(first\), whose configurations would be lost"):
        house.run(VmUndefine(uuid))
    assert house.picture() == earlier


def test_a_snapshot_of_a_volume_that_is_part_of_a_machines_snapshot_is_known_as_such(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.volume_snapshot("log1", "mine")
    snapshot_steps.require_no_vm_snapshot(house.view.snapshot(), "vms/log1", "mine")
    with pytest.raises(Conflict, match="part of the snapshot 'first' of VM vm1"):
        snapshot_steps.require_no_vm_snapshot(house.view.snapshot(), "vms/log1", "first")


def test_a_missing_volume_keeps_no_snapshot_from_being_removed(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.blocks.remove_snapshot("vms", "log1", "first")
    house.blocks.remove("vms", "log1")
    house.run(VmSnapshotRemove(uuid, "first"))
    assert listed(house, uuid) == []
    with pytest.raises(NotFound):
        house.run(VmSnapshotRemove(uuid, "first"))
