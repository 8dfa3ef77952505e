"""Pools, volumes and networks: Ceph and the records stay in step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound, Refused
from pvc_core.fakes.blocks import FakePool
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.storage import Pool
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.network import NetworkCreate, NetworkModify, NetworkRemove
from pvc_core.ops.pool import PoolCreate, PoolRemove, PoolSetPgs, PoolSetReplication
from pvc_core.ops.volume import (
    VolumeClone,
    VolumeCreate,
    VolumeRemove,
    VolumeRename,
    VolumeResize,
    VolumeScan,
)
from pvc_core.ops.volume_import import VolumeImport
from pvc_core.state import records
from tests.unit.ops.house import GIB, House, Watcher


def in_step(house: House) -> bool:
    """Whether the records say of every volume what Ceph says."""
    images = {f"vms/{name}": house.blocks.inspect("vms", name) for name in house.blocks.volumes("vms")}
    return images == dict(house.view.snapshot().volumes)


def write(house: House, name: str, content: bytes) -> None:
    with house.blocks.map("vms", name) as path:
        path.write_bytes(content + path.read_bytes()[len(content) :])


def spooled(house: House, content: bytes) -> str:
    path = house.spool / "image.img"
    path.write_bytes(content)
    return str(path)


def test_create_resize_rename_remove(house: House) -> None:
    house.run(VolumeCreate("vms", "a", 4096))
    house.run(VolumeResize("vms", "a", 8192))
    house.run(VolumeRename("vms", "a", "b"))
    assert house.view.snapshot().volumes["vms/b"].size == 8192
    assert in_step(house)
    house.run(VolumeRemove("vms", "b"))
    assert house.view.snapshot().volumes == {}
    assert in_step(house)


def test_clone_copies_the_content(house: House) -> None:
    house.volume("a", 4096)
    write(house, "a", b"hello")
    watcher = Watcher(house)
    house.run(VolumeClone("vms", "a", "b"), watcher=watcher)
    assert house.blocks.image("vms", "b").content == b"hello"
    assert "Copying volume vms/a (50 %, 2.0 KiB of 4.0 KiB)" in watcher.messages
    assert in_step(house)


def test_a_cancelled_clone_leaves_nothing(house: House) -> None:
    house.volume("a", 4096)
    before = house.picture()
    with pytest.raises(Cancelled):
        house.run(VolumeClone("vms", "a", "b"), watcher=Watcher(house, cancel_at="50 %"))
    assert house.picture() == before


def test_scan_reads_what_ceph_says(house: House) -> None:
    house.volume("a", 4096)
    house.blocks.resize("vms", "a", 8192)
    house.blocks.create("vms", "b", 100)
    house.run(VolumeScan("vms", "a"))
    house.run(VolumeScan("vms", "b"))
    assert in_step(house)
    with pytest.raises(NotFound):
        house.run(VolumeScan("vms", "c"))


def test_import_makes_a_volume_of_the_images_size(house: House) -> None:
    house.run(VolumeImport("vms", "a", spooled(house, b"boot" * 1024), "raw", "n1"))
    assert house.blocks.image("vms", "a").volume.size == 4096
    assert house.blocks.image("vms", "a").content == b"boot" * 1024
    assert in_step(house)
    assert list(house.spool.iterdir()) == []


def test_import_into_an_existing_volume(house: House) -> None:
    house.volume("a", 8192)
    house.run(VolumeImport("vms", "a", spooled(house, b"boot"), "raw", "n1"))
    assert house.blocks.image("vms", "a").content == b"boot"
    assert list(house.spool.iterdir()) == []


def test_an_image_that_is_too_large_is_refused(house: House) -> None:
    house.volume("a", 4)
    before = house.picture()
    with pytest.raises(Conflict, match="the image holds 5 bytes, and volume vms/a has 4: grow it first"):
        house.run(VolumeImport("vms", "a", spooled(house, b"12345"), "raw", "n1"))
    assert house.picture() == before
    assert list(house.spool.iterdir()) == []


def test_an_import_that_breaks_off_takes_a_new_volume_away(house: House) -> None:
    before = house.picture()
    operation = VolumeImport("vms", "a", spooled(house, b"boot"), "raw", "n1")
    with pytest.raises(Cancelled) as caught:
        house.run(operation, watcher=Watcher(house, cancel_at="50 %"))
    assert caught.value.left == ()
    assert house.picture() == before
    assert list(house.spool.iterdir()) == []


def test_an_import_that_breaks_off_says_that_an_old_volume_is_spoilt(house: House) -> None:
    house.volume("a", 4096)
    operation = VolumeImport("vms", "a", spooled(house, b"boot"), "raw", "n1")
    with pytest.raises(Cancelled) as caught:
        house.run(operation, watcher=Watcher(house, cancel_at="50 %"))
    assert caught.value.left == ("volume vms/a holds a part of the image (what it held before is written over)",)


def test_an_import_never_touches_files_elsewhere(house: House, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "precious"
    other.write_bytes(b"x")
    for path in (str(other), f"{house.spool}/../{other.parent.name}/precious"):
        with pytest.raises(BadRequest, match="spool directory"):
            house.run(VolumeImport("vms", "a", path, "raw", "n1"))
    assert other.exists()


def test_a_pool_and_its_end(house: House) -> None:
    before = house.picture()
    house.run(PoolCreate("fast", 64, 3, 2, "ssd"))
    assert house.view.snapshot().pools["fast"] == Pool("fast", 64, "ssd", 3, 2)
    house.run(PoolSetPgs("fast", 128))
    house.run(PoolSetReplication("fast", 2, 1))
    assert house.view.snapshot().pools["fast"] == Pool("fast", 128, "ssd", 2, 1)
    assert house.blocks.pool_records["fast"] == FakePool(2, 128, 2, 1, "ssd")
    house.run(VolumeCreate("fast", "a", 4096))
    house.run(PoolRemove("fast"))
    assert house.picture() == before


def test_a_pool_with_more_copies_than_osds_is_refused(house: House) -> None:
    house.state.put(records.STORAGE, replace(house.blocks.status(0.0), osd_states={"up,in": 2, "down,out": 5}))
    house.view.settle()
    with pytest.raises(Conflict, match="3 copies need as many OSDs, and the cluster has 2"):
        house.run(PoolCreate("fast", 64, 3, 2))
    house.run(PoolCreate("fast", 64, 2, 1))
    with pytest.raises(Conflict, match="3 copies need as many OSDs, and the cluster has 2"):
        house.run(PoolSetReplication("fast", 3, 2))


def test_a_volume_is_not_recorded_in_a_pool_that_went_away_meanwhile(house: House) -> None:
    watcher = Watcher(house)
    watcher.report = lambda *_: house.state.transaction().delete(house.state.get(records.pool("vms"))).commit()  # type: ignore
    with pytest.raises(Failed, match="/pvc/pools/vms does not exist"):
        house.run(VolumeCreate("vms", "a", 4096), watcher=watcher)
    assert house.blocks.volumes("vms") == []


def test_a_network_and_its_end(house: House) -> None:
    house.run(NetworkCreate(200, "lab", NetworkType.BRIDGED, 9000))
    house.run(NetworkModify(200, description="laboratory"))
    assert house.view.snapshot().networks[200] == Network(200, "laboratory", NetworkType.BRIDGED, 9000)
    house.run(NetworkRemove(200))
    assert set(house.view.snapshot().networks) == {100}


@pytest.mark.parametrize(
    ("operation", "error", "reason"),
    [
        (VolumeCreate("none", "a", 1), NotFound, "there is no pool 'none'; there are vms"),
        (VolumeCreate("vms", "disk1", 1), Conflict, "there is a volume vms/disk1 already"),
        (VolumeCreate("vms", "a/b", 1), BadRequest, "cannot be the name of a volume"),
        (VolumeCreate("vms", "a", 0), BadRequest, "size is a positive number of bytes, not 0"),
        (VolumeCreate("vms", "a", 81 * GIB), Conflict, "could fill it beyond 80%"),
        (VolumeCreate("vms", "unknown", 1), Conflict, "Ceph has an image vms/unknown that PVC does not know"),
        (VolumeResize("vms", "disk1", GIB), BadRequest, "can only grow"),
        (VolumeResize("vms", "disk1", 1), BadRequest, "can only grow"),
        (VolumeResize("vms", "disk1", 90 * GIB), Conflict, "could fill it beyond 80%"),
        (VolumeResize("vms", "none", 1), NotFound, "there is no volume vms/none"),
        (VolumeRename("vms", "disk1", "b"), Conflict, "volume vms/disk1 is a disk of VM vm1"),
        (VolumeRename("vms", "free", "disk1"), Conflict, "there is a volume vms/disk1 already"),
        (VolumeRename("vms", "none", "b"), NotFound, "there is no volume vms/none"),
        (VolumeClone("vms", "free", "disk1"), Conflict, "there is a volume vms/disk1 already"),
        (VolumeClone("vms", "free", "unknown"), Conflict, "Ceph has an image vms/unknown"),
        (VolumeClone("vms", "none", "b"), NotFound, "there is no volume vms/none"),
        (VolumeClone("vms", "big", "b"), Conflict, "could fill it beyond 80%"),
        (VolumeRemove("vms", "disk1"), Conflict, "volume vms/disk1 is a disk of VM vm1"),
        (VolumeRemove("vms", "old"), Conflict, r"volume vms/old has snapshots \(one\): remove them first"),
        (VolumeRemove("vms", "none"), NotFound, "there is no volume vms/none"),
        (VolumeRemove("vms", "open"), Conflict, "in use by"),
        (VolumeScan("none", "a"), NotFound, "there is no pool"),
        (VolumeImport("vms", "a", "/x", "iso", "n1"), BadRequest, "image_format is one of raw, qcow2"),
        (VolumeImport("none", "a", "/x", "raw", "n1"), NotFound, "there is no pool"),
        (VolumeImport("vms", "disk1", "/x", "raw", "n1"), Conflict, "volume vms/disk1 is a disk of VM vm1, which runs"),
        (PoolCreate("vms", 64, 3, 2), Conflict, "there is a pool vms already"),
        (PoolCreate("a b", 64, 3, 2), BadRequest, "cannot be the name of a pool"),
        (PoolCreate("a", 63, 3, 2), BadRequest, "pgs is a power of two"),
        (PoolCreate("a", 64, 0, 0), BadRequest, "a pool keeps 1 to 10 copies"),
        (PoolCreate("a", 64, 3, 4), BadRequest, "mincopies is 1 to 3"),
        (PoolCreate("ceph", 64, 3, 2), Conflict, "Ceph has a pool ceph that PVC does not know"),
        (PoolSetReplication("none", 2, 1), NotFound, "there is no pool"),
        (PoolSetReplication("vms", 2, 3), BadRequest, "mincopies is 1 to 2"),
        (PoolSetReplication("vms", 0, 0), BadRequest, "a pool keeps 1 to 10 copies"),
        (PoolSetPgs("none", 64), NotFound, "there is no pool"),
        (PoolSetPgs("vms", -1), BadRequest, "pgs is a power of two"),
        (PoolRemove("none"), NotFound, "there is no pool"),
        (PoolRemove("vms"), Conflict, "volume vms/disk1 is a disk of VM vm1"),
        (NetworkCreate(100, "x", NetworkType.BRIDGED), Conflict, r"there is a network 100 already \(office\)"),
        (NetworkCreate(4095, "x", NetworkType.BRIDGED), BadRequest, "a VLAN id from 1 to 4094, not 4095"),
        (NetworkCreate(5, "x", NetworkType.MANAGED), BadRequest, "only bridged networks"),
        (NetworkCreate(5, "", NetworkType.BRIDGED), BadRequest, "a description has 1 to 255"),
        (NetworkCreate(5, "x", NetworkType.BRIDGED, 10), BadRequest, "mtu is a number of bytes from 576"),
        (NetworkModify(5, "x"), NotFound, "there is no network 5"),
        (NetworkModify(100, mtu=70000), BadRequest, "mtu is a number of bytes"),
        (NetworkRemove(5), NotFound, "there is no network 5"),
        (NetworkRemove(100), Conflict, "network 100 is used by VM vm1"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Operation) else "",
)
def test_refusals(house: House, operation: Operation, error: type[Refused], reason: str) -> None:
    house.define(1, VmState.START)
    house.volume("free")
    house.volume("big", 90 * GIB)
    house.volume("open")
    house.blocks.image("vms", "open").watchers.append("10.0.0.1:0/1")
    house.volume("old")
    house.volume_snapshot("old", "one")
    house.blocks.create("vms", "unknown", 1)
    house.blocks.create_pool("ceph", 8, 3, 2, "default")
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation)
    assert house.picture() == before


@pytest.mark.parametrize("operation", [VolumeCreate("vms", "a", 90 * GIB, force=True)])
def test_force_fills_a_pool(house: House, operation: Any) -> None:
    house.run(operation)
    assert in_step(house)
