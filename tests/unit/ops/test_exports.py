"""Exports and backups: what was written comes back, what is damaged is named, and nothing half is left anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.errors import BadRequest, Cancelled, ClaimLost, Conflict, Failed, NotFound
from pvc_core.fakes.targets import FakeTarget
from pvc_core.model.domain import parse
from pvc_core.model.vm import VmState
from pvc_core.ops.vm_backup import VmBackupCreate, VmBackupRemove, VmRestore
from pvc_core.ops.vm_export import VmSnapshotExport
from pvc_core.ops.vm_import import VmSnapshotImport
from pvc_core.ops.vm_remove import VmRemove
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher, disk_xml

PATH = "/backups"
UNIT = 1 << 16  # bytes, of which the disks here have a few


def write(house: House, disk: str, offset: int, content: bytes) -> None:
    with house.blocks.open("vms", disk, writable=True) as image:
        image.write(offset, content)


def content(house: House, disk: str, snapshot: str = "") -> bytes:
    with house.blocks.open("vms", disk, snapshot=snapshot) as image:
        return image.read(0, 32 * UNIT)


@pytest.fixture
def store(house: House) -> FakeTarget:
    return house.targets.stores.setdefault(PATH, FakeTarget())


@pytest.fixture
def vm(house: House) -> str:
    """A machine with two disks, of which some parts were written."""
    uuid = house.define(1)
    house.volume("data", 32 * UNIT)
    xml = house.state.get(records.vm_xml(uuid))
    changed = xml.value.replace("</disk>", f"</disk>{disk_xml('vms/data', 'sdb')}", 1)
    house.state.transaction().update(xml, changed).commit()
    write(house, "disk1", 4 * UNIT, b"system" * 1000)
    write(house, "data", 20 * UNIT, b"first" * 1000)
    return uuid


def snapshot(house: House, vm: str, name: str) -> None:
    house.lab.clock.advance(60)
    house.run(VmSnapshotCreate(vm, name))


def export(house: House, vm: str, name: str, parent: str = "", **fields: Any) -> VmSnapshotExport:
    return VmSnapshotExport(vm, name, PATH, "n1", parent, **fields)


@pytest.fixture
def exported(house: House, vm: str, store: FakeTarget) -> str:
    """A full export and an increment; the machine is removed."""
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    write(house, "data", 0, b"second" * 1000)
    write(house, "disk1", 4 * UNIT, bytes(2 * UNIT))
    snapshot(house, vm, "s2")
    house.run(export(house, vm, "s2", "s1"))
    remove(house, vm)
    return vm


def remove(house: House, vm: str) -> None:
    for name in list(house.view.snapshot().vm_snapshots.get(vm, {})):
        house.run(VmSnapshotRemove(vm, name))
    house.run(VmRemove(vm))


def bring_back(name: str = "s2", **fields: Any) -> VmSnapshotImport:
    return VmSnapshotImport("vm1", name, PATH, "n1", **fields)


def test_a_machine_comes_back_from_an_increment_as_it_was(house: House, exported: str) -> None:
    result = house.run(bring_back())
    assert result["uuid"] == exported
    assert content(house, "data") == (b"second" * 1000).ljust(20 * UNIT, b"\0") + (b"first" * 1000).ljust(
        12 * UNIT, b"\0"
    )
    assert content(house, "disk1").count(0) == 32 * UNIT
    vm = house.vm(exported)
    assert (vm.name, vm.state) == ("vm1", VmState.STOP)
    assert parse(house.state.get(records.vm_xml(exported)).value).volumes == ("vms/disk1", "vms/data")
    assert house.view.snapshot().volumes["vms/data"] == house.blocks.inspect("vms", "data")


def test_the_retained_snapshots_are_those_of_the_chain(house: House, exported: str) -> None:
    house.run(bring_back())
    assert list(house.view.snapshot().vm_snapshots[exported]) == ["s1", "s2"]
    assert content(house, "data", "s1")[:6] == bytes(6)
    assert content(house, "data", "s2")[:6] == b"second"
    write(house, "data", 8 * UNIT, b"third")
    snapshot(house, exported, "s3")
    house.run(export(house, exported, "s3", "s2"))
    remove(house, exported)
    house.run(bring_back("s3", retain_snapshot=False))
    assert content(house, "data")[8 * UNIT : 8 * UNIT + 5] == b"third"
    assert house.view.snapshot().vm_snapshots == {}
    assert house.blocks.inspect("vms", "data").snapshots == ()


def test_an_increment_holds_what_differs_only(house: House, exported: str, store: FakeTarget) -> None:
    sizes = {name: len(content) for name, content in store.objects.items()}
    assert sizes["vm1/s2/vms/disk1.pvcf"] < sizes["vm1/s1/vms/disk1.pvcf"]
    assert sorted(sizes) == [
        "vm1/s1/manifest.json",
        "vm1/s1/vms/data.pvcf",
        "vm1/s1/vms/disk1.pvcf",
        "vm1/s2/manifest.json",
        "vm1/s2/vms/data.pvcf",
        "vm1/s2/vms/disk1.pvcf",
    ]


def test_a_disk_that_came_after_the_parent_is_in_the_increment_wholly(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    house.volume("more", 8 * UNIT)
    write(house, "more", UNIT, b"more")
    xml = house.state.get(records.vm_xml(vm))
    changed = xml.value.replace("</disk>", f"</disk>{disk_xml('vms/more', 'sdc')}", 1)
    house.state.transaction().update(xml, changed).commit()
    snapshot(house, vm, "s2")
    house.run(export(house, vm, "s2", "s1"))
    remove(house, vm)
    house.run(bring_back())
    assert content(house, "more")[UNIT : UNIT + 4] == b"more"
    assert [snapshot.name for snapshot in house.blocks.inspect("vms", "more").snapshots] == ["s2"]


def test_a_disk_that_grew_has_its_new_size(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    house.state.put(records.volume("vms", "data"), house.blocks.resize("vms", "data", 64 * UNIT))
    write(house, "data", 60 * UNIT, b"far")
    snapshot(house, vm, "s2")
    house.run(export(house, vm, "s2", "s1"))
    remove(house, vm)
    house.run(bring_back())
    volume = house.blocks.inspect("vms", "data")
    assert (volume.size, [taken.size for taken in volume.snapshots]) == (64 * UNIT, [32 * UNIT, 64 * UNIT])


@pytest.mark.parametrize("name", ["vm1/s1/vms/data.pvcf", "vm1/s2/vms/disk1.pvcf", "vm1/s1/manifest.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_flipped_byte_is_named_before_anything_is_changed(
    house: House, exported: str, store: FakeTarget, name: str, place: float
) -> None:
    before = house.picture()
    damaged = bytearray(store.objects[name])
    damaged[int(place * len(damaged))] ^= 1
    store.objects[name] = bytes(damaged)
    with pytest.raises(Conflict, match=name):
        house.run(bring_back())
    assert house.picture() == before


@pytest.mark.parametrize("name", ["vm1/s1/vms/data.pvcf", "vm1/s2/vms/disk1.pvcf"])
def test_a_missing_file_is_named(house: House, exported: str, store: FakeTarget, name: str) -> None:
    before = house.picture()
    del store.objects[name]
    with pytest.raises(Conflict, match=f"disk vms/.* in {name}: its file is missing"):
        house.run(bring_back())
    assert house.picture() == before


def test_all_that_is_damaged_is_named_at_once(house: House, exported: str, store: FakeTarget) -> None:
    del store.objects["vm1/s1/vms/data.pvcf"]
    store.objects["vm1/s2/vms/disk1.pvcf"] = store.objects["vm1/s2/vms/disk1.pvcf"][:-1]
    with pytest.raises(Conflict, match=r"data.pvcf: its file is missing; .*disk1.pvcf: it breaks off after"):
        house.run(bring_back())


def test_an_increment_without_its_parent_is_refused(house: House, exported: str, store: FakeTarget) -> None:
    del store.objects["vm1/s1/manifest.json"]
    with pytest.raises(NotFound, match="vm1/s2/ holds only what differs from vm1/s1/, which is not there"):
        house.run(bring_back())


def test_an_increment_beside_another_snapshot_of_its_parents_name_is_refused(
    house: House, exported: str, store: FakeTarget
) -> None:
    house.run(bring_back("s1", retain_snapshot=False))
    kept = {name: content for name, content in store.objects.items() if name.startswith("vm1/s2/")}
    store.objects.clear()
    snapshot(house, exported, "s1")
    house.run(export(house, exported, "s1"))
    store.objects.update(kept)
    remove(house, exported)
    with pytest.raises(Conflict, match="differs from another snapshot than the one in vm1/s1/"):
        house.run(bring_back())


def test_an_increment_is_only_exported_beside_its_parent(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    snapshot(house, vm, "s2")
    with pytest.raises(Conflict, match="/backups has no export of snapshot 's1' as it is in the cluster"):
        house.run(export(house, vm, "s2", "s1"))
    with pytest.raises(Conflict, match="snapshot 's2' is not older than 's1'"):
        house.run(export(house, vm, "s1", "s2"))
    assert store.objects == {}


def test_an_export_is_not_written_over(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    before = dict(store.objects)
    with pytest.raises(Conflict, match="/backups has vm1/s1/ already"):
        house.run(export(house, vm, "s1"))
    assert store.objects == before


def test_a_full_store_is_left_without_half_an_export(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    store.capacity = 200
    with pytest.raises(Failed, match="full") as caught:
        house.run(export(house, vm, "s1"))
    assert caught.value.left == ()
    assert store.objects == {}


def test_a_cancelled_export_leaves_nothing(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    with pytest.raises(Cancelled) as caught:
        house.run(export(house, vm, "s1"), watcher=Watcher(house, cancel_at="%"))
    assert caught.value.left == ()
    assert store.objects == {}


def test_an_export_whose_worker_was_killed_is_made_again(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    with pytest.raises(ClaimLost):
        house.run(export(house, vm, "s1"), watcher=Watcher(house, lose_at="100 %"))
    assert "vm1/s1/manifest.json" not in store.objects
    house.run(export(house, vm, "s1"), attempt=2)
    before = dict(store.objects)
    house.run(export(house, vm, "s1"), attempt=3)
    assert store.objects == before
    remove(house, vm)
    house.run(bring_back("s1"))
    assert content(house, "data")[20 * UNIT : 20 * UNIT + 5] == b"first"


def test_a_snapshot_cannot_be_removed_while_it_is_exported(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    operation = export(house, vm, "s1")
    assert set(operation.locks(house.view.snapshot())) & set(VmSnapshotRemove(vm, "s1").locks(house.view.snapshot()))


def test_a_snapshot_that_ceph_lost_meanwhile_is_not_called_exported(
    house: House, vm: str, store: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(house, vm, "s1")

    class Losing(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            super().report(current, total, message)
            if "100 %" in message and house.blocks.inspect("vms", "data").snapshots:
                house.blocks.remove_snapshot("vms", "data", "s1")

    with pytest.raises(Failed, match="snapshot 's1' of volume vms/data was removed while it was exported"):
        house.run(export(house, vm, "s1"), watcher=Losing(house))
    assert store.objects == {}


def test_an_export_may_be_read_back_before_it_counts(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")

    class Damaging(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            super().report(current, total, message)
            if message == "Reading it back":
                store.objects["vm1/s1/vms/data.pvcf"] = b"garbage"

    with pytest.raises(Failed, match=r"disk vms/data in vm1/s1/vms/data.pvcf"):
        house.run(export(house, vm, "s1", verify=True), watcher=Damaging(house))
    assert store.objects == {}


@pytest.mark.parametrize("at", ["Checking the files (", "Writing volume vms/data (", "Writing volume vms/disk1 ("])
def test_a_cancelled_import_leaves_nothing(house: House, exported: str, at: str) -> None:
    before = house.picture()
    with pytest.raises(Cancelled) as caught:
        house.run(bring_back(), watcher=Watcher(house, cancel_at=at))
    assert caught.value.left == ()
    assert house.picture() == before


@pytest.mark.parametrize("at", ["Writing volume vms/data (100", "Writing volume vms/disk1 ("])
def test_an_import_whose_worker_was_killed_is_made_again_from_its_start(house: House, exported: str, at: str) -> None:
    with pytest.raises(ClaimLost):
        house.run(bring_back(), watcher=Watcher(house, lose_at=at))
    assert exported not in house.view.snapshot().vms
    assert house.view.snapshot().volumes == {}
    dead = house.blocks.image("vms", "data").watchers
    dead.append("10.0.0.1:0/1")  # Ceph is slow to see that it died

    class Seeing(Watcher):
        def claimed(self) -> bool:
            dead.clear()
            return True

    house.run(bring_back(), attempt=2, watcher=Seeing(house))
    assert content(house, "data")[:6] == b"second"
    house.run(bring_back(), attempt=3)  # its answer was lost


@pytest.mark.parametrize("call", ["open", "rename", "create_snapshot", "inspect"])
def test_an_import_whose_worker_was_killed_between_two_calls_to_ceph_is_completed(
    house: House, exported: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise ClaimLost("killed")

    with monkeypatch.context() as patch:
        patch.setattr(house.blocks, call, die)
        with pytest.raises(ClaimLost):
            house.run(bring_back(), attempt=2)
    assert house.blocks.volumes("vms") != []
    house.run(bring_back(), attempt=3)
    assert house.blocks.volumes("vms") == ["data", "disk1"]


def test_what_another_task_made_is_not_taken_for_ones_own(house: House, exported: str) -> None:
    house.blocks.create("vms", "data", UNIT)
    before = house.picture()
    for attempt in (1, 2):
        with pytest.raises(Conflict, match="Ceph has an image vms/data that PVC does not know"):
            house.run(bring_back(), attempt=attempt)
    assert house.picture() == before


def test_an_import_beside_the_machine_or_its_volumes_is_refused(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    before = house.picture()
    with pytest.raises(Conflict, match="there is a VM vm1 already"):
        house.run(bring_back("s1"))
    assert house.picture() == before
    remove(house, vm)
    house.volume("data")
    before = house.picture()
    with pytest.raises(Conflict, match="there is a volume vms/data already"):
        house.run(bring_back("s1"))
    assert house.picture() == before


def test_an_import_waits_for_no_node_that_is_not_here(house: House, vm: str, store: FakeTarget) -> None:
    house.change(vm, meta=replace(house.vm(vm).meta, node_limit=("n2", "gone")))
    snapshot(house, vm, "s1")
    house.run(export(house, vm, "s1"))
    remove(house, vm)
    house.run(bring_back("s1"))
    assert house.vm(vm).meta.node_limit == ("n2",)


def test_what_is_not_there_or_makes_no_sense_is_refused(house: House, vm: str, store: FakeTarget) -> None:
    snapshot(house, vm, "s1")
    with pytest.raises(NotFound, match="has no snapshot 's9'"):
        house.run(export(house, vm, "s9"))
    with pytest.raises(NotFound, match="there is no node 'n9'"):
        house.run(VmSnapshotExport(vm, "s1", PATH, "n9"), node="n1")
    with pytest.raises(BadRequest, match="neither an absolute path"):
        house.run(VmSnapshotExport(vm, "s1", "backups", "n1"))
    with pytest.raises(NotFound, match=r"there is no file vm7/s1/manifest.json"):
        house.run(VmSnapshotImport("vm7", "s1", PATH, "n1"))


def backup(vm: str, name: str, **fields: Any) -> VmBackupCreate:
    return VmBackupCreate(vm, name, PATH, "n1", **fields)


def test_backups_are_made_restored_and_removed(house: House, vm: str, store: FakeTarget) -> None:
    house.run(backup(vm, "20260101000000", retain_snapshot=True))
    write(house, "data", 0, b"later")
    house.lab.clock.advance(60)
    house.run(backup(vm, "20260102000000", parent="20260101000000"))
    assert list(house.view.snapshot().vm_snapshots[vm]) == ["20260101000000"]
    with pytest.raises(Conflict, match="backups that differ from it need it: 20260102000000"):
        house.run(VmBackupRemove("vm1", "20260101000000", PATH, "n1"))
    remove(house, vm)
    house.run(VmRestore("vm1", "20260102000000", PATH, "n1"))
    assert content(house, "data")[:5] == b"later"
    house.run(VmBackupRemove("vm1", "20260102000000", PATH, "n1"))
    house.run(VmBackupRemove("vm1", "20260101000000", PATH, "n1"))
    assert store.objects == {}
    assert house.view.snapshot().vm_snapshots == {}
    with pytest.raises(NotFound, match="has no backup 20260101000000 of VM vm1"):
        house.run(VmBackupRemove("vm1", "20260101000000", PATH, "n1"))


def test_a_backup_that_fails_leaves_neither_files_nor_a_snapshot(house: House, vm: str, store: FakeTarget) -> None:
    before = house.picture()
    store.capacity = 200
    with pytest.raises(Failed) as caught:
        house.run(backup(vm, "20260101000000"))
    assert caught.value.left == ()
    store.capacity = UNIT
    with pytest.raises(Cancelled) as caught:
        house.run(backup(vm, "20260101000000"), watcher=Watcher(house, cancel_at="%"))
    assert caught.value.left == ()
    assert store.objects == {}
    assert house.picture() == before


def test_a_backup_whose_worker_was_killed_is_made_again(house: House, vm: str, store: FakeTarget) -> None:
    with pytest.raises(ClaimLost):
        house.run(backup(vm, "20260101000000"), watcher=Watcher(house, lose_at="100 %"))
    house.run(backup(vm, "20260101000000"), attempt=2)
    assert "vm1/20260101000000/manifest.json" in store.objects
    assert house.view.snapshot().vm_snapshots == {}
