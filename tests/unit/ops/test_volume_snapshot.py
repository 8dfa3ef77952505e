"""Snapshots of single volumes: Ceph and the records stay in step, and machines' snapshots stay whole."""

from __future__ import annotations

from typing import Any

import pytest

from pvc_core.errors import BadRequest, Conflict, DriverUnavailable, Failed, NotFound, Refused
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.pool import PoolRemove
from pvc_core.ops.vm_snapshot import VmSnapshotCreate
from pvc_core.ops.volume import VolumeRemove, VolumeRename
from pvc_core.ops.volume_import import VolumeUpload
from pvc_core.ops.volume_snapshot import (
    VolumeSnapshotCreate,
    VolumeSnapshotProtect,
    VolumeSnapshotRemove,
    VolumeSnapshotRename,
    VolumeSnapshotRollback,
)
from pvc_core.state import records
from tests.unit.ops.house import GIB, House, Watcher, xml


def recorded(house: House, name: str = "a") -> list[tuple[str, bool]]:
    """The snapshots in a volume's record, which are those that Ceph has."""
    volume = house.state.get(records.volume("vms", name)).value
    assert volume == house.blocks.inspect("vms", name)
    return [(snapshot.name, snapshot.protected) for snapshot in volume.snapshots]


def write(house: House, content: bytes, name: str = "a") -> None:
    with house.blocks.open("vms", name, writable=True) as image:
        image.write(0, content)


class Unreachable(FakeBlocks):
    """Loses the answer of one call, which was done or not."""

    def __init__(self, blocks: FakeBlocks, call: str, done: bool) -> None:
        self.__dict__ = blocks.__dict__
        self._call, self._done = call, done

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name != self._call:
            return found

        def lost(*arguments: Any) -> None:
            self._call = ""
            if self._done:
                found(*arguments)
            raise DriverUnavailable("Ceph does not answer")

        return lost


class SlowToForget(FakeBlocks):
    """Shows a client that has ended for three looks more."""

    def __init__(self, blocks: FakeBlocks) -> None:
        self.__dict__ = blocks.__dict__
        self.looks = 3

    def watchers(self, pool: str, name: str) -> list[str]:
        self.looks -= 1
        return ["10.0.0.1:0/1"] if self.looks >= 0 else super().watchers(pool, name)


def test_a_snapshot_is_taken_renamed_protected_and_removed(house: House) -> None:
    house.volume("a")
    house.run(VolumeSnapshotCreate("vms", "a", "one"))
    assert recorded(house) == [("one", False)]
    house.run(VolumeSnapshotRename("vms", "a", "one", "two"))
    house.run(VolumeSnapshotProtect("vms", "a", "two", True))
    assert recorded(house) == [("two", True)]
    house.run(VolumeSnapshotProtect("vms", "a", "two", False))
    house.run(VolumeSnapshotRemove("vms", "a", "two"))
    assert recorded(house) == []


def test_a_rollback_brings_the_content_and_the_size_back(house: House) -> None:
    house.volume("a", 4096)
    write(house, b"first")
    house.run(VolumeSnapshotCreate("vms", "a", "one"))
    write(house, b"later")
    house.blocks.resize("vms", "a", 8192)
    house.run(VolumeSnapshotRollback("vms", "a", "one"))
    assert house.blocks.image("vms", "a").content == b"first"
    assert recorded(house) == [("one", False)]
    assert house.view.snapshot().volumes["vms/a"].size == 4096


def test_a_rollback_waits_for_a_client_that_ended(house: House) -> None:
    house.volume("a")
    house.volume_snapshot("a", "one")
    write(house, b"later")
    house.run(VolumeSnapshotRollback("vms", "a", "one"), blocks=SlowToForget(house.blocks))
    assert house.blocks.image("vms", "a").content == b""


def test_the_snapshot_of_a_machine_that_runs_is_taken(house: House) -> None:
    house.define(1, VmState.START)
    house.run(VolumeSnapshotCreate("vms", "disk1", "one"))
    assert recorded(house, "disk1") == [("one", False)]


def test_a_part_of_a_machines_snapshot_is_rolled_back_to_alone(house: House) -> None:
    uuid = house.define(1)
    write(house, b"first", "disk1")
    house.run(VmSnapshotCreate(uuid, "one"))
    write(house, b"later", "disk1")
    house.run(VolumeSnapshotRollback("vms", "disk1", "one"))
    assert house.blocks.image("vms", "disk1").content == b"first"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ("create_snapshot", VolumeSnapshotCreate("vms", "a", "new")),
        ("rename_snapshot", VolumeSnapshotRename("vms", "a", "old", "new")),
        ("protect_snapshot", VolumeSnapshotProtect("vms", "a", "old", True)),
    ],
)
def test_what_ceph_did_not_confirm_is_taken_back(house: House, call: str, operation: Operation, done: bool) -> None:
    house.volume("a")
    house.volume_snapshot("a", "old")
    before = house.picture()
    with pytest.raises((DriverUnavailable, Failed)):
        house.run(operation, blocks=Unreachable(house.blocks, call, done))
    assert house.picture() == before


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (VolumeSnapshotCreate("vms", "a", "new"), [("old", False), ("new", False)]),
        (VolumeSnapshotRename("vms", "a", "old", "new"), [("new", False)]),
        (VolumeSnapshotProtect("vms", "a", "old", True), [("old", True)]),
        (VolumeSnapshotRollback("vms", "a", "old"), [("old", False)]),
        (VolumeSnapshotRemove("vms", "a", "old"), []),
    ],
)
def test_what_a_dead_worker_began_is_completed(
    house: House, operation: Operation, expected: list[tuple[str, bool]], done: bool
) -> None:
    house.volume("a")
    house.volume_snapshot("a", "old")
    record = house.state.get(records.volume("vms", "a")).value
    if done:  # all but the record
        house.run(operation)
        house.state.put(records.volume("vms", "a"), record)
    house.run(operation, attempt=2)
    assert recorded(house) == expected


def test_a_rollback_that_fails_midway_says_what_is_left(house: House) -> None:
    house.volume("a")
    house.volume_snapshot("a", "one")
    with pytest.raises(Failed) as caught:
        house.run(VolumeSnapshotRollback("vms", "a", "one"), blocks=Unreachable(house.blocks, "rollback", False))
    assert "may be rolled back in part: roll it back again" in caught.value.left[0]
    house.run(VolumeSnapshotRollback("vms", "a", "one"), watcher=Watcher(house))


@pytest.mark.parametrize(
    ("operation", "error", "reason"),
    [
        (VolumeSnapshotCreate("vms", "none", "x"), NotFound, "there is no volume vms/none"),
        (VolumeSnapshotCreate("vms", "a", "one"), Conflict, "volume vms/a has a snapshot 'one' already"),
        (VolumeSnapshotCreate("vms", "a", "unknown"), Conflict, "has a snapshot 'unknown' in Ceph: scan the volume"),
        (VolumeSnapshotCreate("vms", "a", "a/b"), BadRequest, "cannot be the name of a snapshot"),
        (VolumeSnapshotCreate("vms", "a", "pvc-copy-x"), BadRequest, "begin with pvc- are PVC's own"),
        (VolumeSnapshotCreate("vms", "big", "x"), Conflict, "could fill it beyond 80%"),
        (VolumeSnapshotRename("vms", "a", "x", "y"), NotFound, "volume vms/a has no snapshot 'x'; it has one, two"),
        (VolumeSnapshotRename("vms", "a", "one", "two"), Conflict, "has a snapshot 'two' already"),
        (VolumeSnapshotRename("vms", "a", "one", "pvc-x"), BadRequest, "PVC's own"),
        (VolumeSnapshotRename("vms", "disk2", "whole", "x"), Conflict, "pvc vm snapshot remove vm2 whole"),
        (VolumeSnapshotRemove("vms", "a", "x"), NotFound, "has no snapshot 'x'"),
        (VolumeSnapshotRemove("vms", "a", "two"), Conflict, "'two' of volume vms/a is protected: unprotect it first"),
        (VolumeSnapshotRemove("vms", "disk2", "whole"), Conflict, "pvc vm snapshot remove vm2 whole"),
        (VolumeSnapshotProtect("vms", "a", "x", True), NotFound, "has no snapshot 'x'"),
        (VolumeSnapshotRollback("vms", "a", "x"), NotFound, "has no snapshot 'x'"),
        (VolumeSnapshotRollback("vms", "disk1", "one"), Conflict, "a disk of VM vm1, which is not stopped"),
        (VolumeSnapshotRollback("vms", "disk3", "one"), Conflict, "a disk of VM vm3, which another cluster sends"),
        (VolumeSnapshotRollback("vms", "open", "one"), Conflict, "in use by"),
        (VolumeRename("vms", "disk2", "x"), Conflict, "volume vms/disk2 is a disk of VM vm2"),
        (VolumeUpload("vms", "disk3", "/x", 1, "n1"), Conflict, "a disk of VM vm3, which another cluster sends"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Operation) else "",
)
def test_refusals(house: House, operation: Operation, error: type[Refused], reason: str) -> None:
    house.define(1, VmState.START)
    house.volume_snapshot("disk1", "one")
    house.run(VmSnapshotCreate(house.define(2), "whole"))
    house.define(3, VmState.MIRROR)
    house.volume_snapshot("disk3", "one")
    house.volume("a")
    for name in ("one", "two"):
        house.run(VolumeSnapshotCreate("vms", "a", name))
    house.run(VolumeSnapshotProtect("vms", "a", "two", True))
    house.blocks.create_snapshot("vms", "a", "unknown")
    house.volume("big", GIB)
    house.volume("open")
    house.volume_snapshot("open", "one")
    house.blocks.image("vms", "open").watchers.append("10.0.0.1:0/1")
    if operation == VolumeSnapshotCreate("vms", "big", "x"):
        write(house, b"something", "big")
        house.blocks.capacity = 0
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation)
    assert house.picture() == before


def test_force_takes_a_snapshot_in_a_full_pool(house: House) -> None:
    house.volume("a")
    write(house, b"something")
    house.blocks.capacity = 0
    house.run(VolumeSnapshotCreate("vms", "a", "one", force=True))
    assert recorded(house) == [("one", False)]


@pytest.mark.parametrize(
    "operation", [VolumeRename("vms", "disk1", "x"), VolumeRemove("vms", "disk1"), PoolRemove("vms")]
)
def test_a_disk_that_was_detached_stays_while_a_machines_snapshot_has_it(house: House, operation: Operation) -> None:
    uuid = house.define(1)
    house.run(VmSnapshotCreate(uuid, "whole"))
    house.state.put(records.vm_xml(uuid), xml("vm1", uuid=uuid))
    before = house.picture()
    with pytest.raises(Conflict, match="snapshot"):
        house.run(operation)
    assert house.picture() == before
