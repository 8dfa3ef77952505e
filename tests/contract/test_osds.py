"""What every Osds and OsdMap does, whether Ceph stands behind them or memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.storage import Osd
from tests.contract.conftest import REAL
from tests.contract.osds import GIB, CephOsdWorld, FakeOsdWorld, OsdWorld, removed_afterwards, wait_up


@pytest.fixture(scope="module", params=["fake", pytest.param("ceph", marks=REAL)])
def storage(request: pytest.FixtureRequest) -> Iterator[OsdWorld]:
    world = FakeOsdWorld() if request.param == "fake" else CephOsdWorld()
    yield world
    world.close()


@pytest.fixture
def world(storage: OsdWorld) -> Iterator[OsdWorld]:
    """A node without OSDs."""
    with removed_afterwards(storage):
        yield storage


def holds(world: OsdWorld, path: str) -> str:
    return next(disk.holds for disk in world.osds.devices() if disk.path == path)


def add(world: OsdWorld, count: int = 1, db_size: int = 0) -> list[Osd]:
    group = world.osds.db_group() if db_size else ""
    made = world.osds.create(world.disks[0], count, group, db_size, lambda _: None)
    for osd in made:
        wait_up(world.map, osd.id, up=True)
    return made


def test_an_osd_is_made_found_stopped_and_wiped(world: OsdWorld) -> None:
    steps: list[str] = []
    (osd,) = world.osds.create(world.disks[0], 1, "", 0, steps.append)
    assert len(steps) == 2
    wait_up(world.map, osd.id, up=True)
    assert (osd.node, osd.device, osd.db_device) == ("n1", world.disks[0], "")
    assert world.osds.present() == [osd]
    assert world.map.stats()[osd.id].uuid == osd.uuid
    assert holds(world, world.disks[0])

    with pytest.raises(Conflict, match="up: stop it first"):
        world.map.purge(osd.id)
    world.osds.stop(osd.id)
    world.osds.stop(osd.id)
    wait_up(world.map, osd.id, up=False)
    world.map.purge(osd.id)
    assert osd.id not in world.map.stats()
    world.osds.zap(osd.id)
    world.osds.zap(osd.id)
    assert world.osds.present() == []
    assert holds(world, world.disks[0]) == ""


def test_several_with_their_databases_and_one_of_them_removed(world: OsdWorld) -> None:
    if not world.osds.db_group():
        world.osds.create_db_group(world.disks[1])
    with pytest.raises(Conflict):
        world.osds.create_db_group(world.disks[0])
    one, other = add(world, 2, GIB)
    assert one.db_size == other.db_size == GIB
    assert one.db_device != other.db_device
    world.osds.stop(one.id)
    wait_up(world.map, one.id, up=False)
    world.map.purge(one.id)
    world.osds.zap(one.id)
    assert world.osds.present() == [other]
    assert world.map.stats()[other.id].up
    assert world.osds.db_group()


def test_what_is_no_empty_disk_is_refused(world: OsdWorld) -> None:
    with pytest.raises(NotFound, match="is no disk of this node; there are "):
        world.osds.create("/dev/null", 1, "", 0, lambda _: None)
    add(world)
    with pytest.raises(Conflict, match="is not empty, it holds"):
        world.osds.create(world.disks[0], 1, "", 0, lambda _: None)


def test_what_breaks_off_leaves_nothing(world: OsdWorld) -> None:
    before = world.map.stats().keys()

    def break_off(step: str) -> None:
        if step.startswith("Making OSD 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.osds.create(world.disks[0], 2, "", 0, break_off)
    assert world.osds.present() == []
    assert holds(world, world.disks[0]) == ""
    assert world.map.stats().keys() == before


def test_an_osd_starts_again_from_its_disk(world: OsdWorld) -> None:
    (osd,) = add(world)
    world.osds.stop(osd.id)
    wait_up(world.map, osd.id, up=False)
    assert world.osds.activate(osd.id, osd.device) == osd
    wait_up(world.map, osd.id, up=True)
    with pytest.raises(NotFound):
        world.osds.activate(osd.id + 1, osd.device)
    with pytest.raises(NotFound):
        world.osds.activate(osd.id, world.disks[1])


def test_an_osd_is_made_anew_under_its_id(world: OsdWorld) -> None:
    (osd,) = add(world)
    world.osds.stop(osd.id)
    wait_up(world.map, osd.id, up=False)
    world.map.destroy(osd.id)
    world.osds.zap(osd.id)
    again = world.osds.replace(osd.id, world.disks[0], "", 0, lambda _: None)
    assert (again.id, again.device) == (osd.id, osd.device)
    wait_up(world.map, osd.id, up=True)


def test_ceph_is_asked_and_told(world: OsdWorld) -> None:
    (osd,) = add(world)
    world.map.set_weight(osd.id, 0.25)
    world.map.set_in(osd.id, False)
    stats = world.map.stats()
    assert (stats[osd.id].weight, stats[osd.id].in_, stats[world.first].in_) == (0.25, False, True)
    world.map.set_in(osd.id, True)
    assert world.map.stats()[osd.id].in_
    assert world.map.load(osd.id).groups == 0
    assert world.map.unsafe_to_stop(osd.id) == ""
    assert world.map.unsafe_to_destroy(osd.id) == ""
    world.map.set_flag("noscrub", True)
    world.map.set_flag("noscrub", False)
    for question in (world.map.load, world.map.unsafe_to_stop, world.map.unsafe_to_destroy, world.map.purge):
        with pytest.raises(NotFound, match="Ceph has no OSD 99"):
            question(99)
