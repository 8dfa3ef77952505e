"""OSDs are added, replaced and removed; nothing is harmed that Ceph says it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound
from pvc_core.model.storage import Osd, StorageStatus
from pvc_core.ops.base import Operation
from pvc_core.ops.osd import (
    OsdAdd,
    OsdCreateDbGroup,
    OsdRefresh,
    OsdRemove,
    OsdReplace,
    OsdSetFlag,
    OsdSetState,
)
from pvc_core.state import records
from tests.unit.ops.house import GIB, House, Watcher

SIZE = 800 * 10**9  # of each disk of the house


@pytest.fixture
def osds(house: House) -> House:
    """An OSD on each node, as many as the pool keeps copies, and a fourth one."""
    for node in ("n1", "n2", "n3", "n1"):
        number = len(house.osd_map.osds)
        house.run(OsdAdd(node, "detect:INTEL:800GB:0" if number < 3 else "/dev/sdc", 1.0))
        house.osd_map.osds[number].objects = 100
    look(house)
    return house


def look(house: House) -> None:
    """Let the primary write what Ceph says of the OSDs."""
    status = StorageStatus(1.0, "HEALTH_OK", (), {"up,in": 3}, 0, 0, 0, osds=house.osd_map.stats())
    house.state.put(records.STORAGE, status)
    house.lab.cycle()


def picture(house: House) -> object:
    return house.picture(), house.osd_map.stats(), {name: osds.present() for name, osds in house.osds.items()}


def test_an_osd_is_added_on_the_disk_that_is_described(house: House) -> None:
    house.run(OsdAdd("n2", "detect:INTEL:800GB:1", 0.7))
    assert house.view.snapshot().osds == {0: Osd(0, "n2", "/dev/sdc", uuid="uuid-n2-0")}
    assert house.osd_map.stats()[0].weight == 0.7
    assert house.osd_map.stats()[0].up


def test_several_on_one_disk_share_the_database_group_by_ratio(house: House) -> None:
    house.run(OsdCreateDbGroup("n1", "/dev/sdd"))
    result = house.run(OsdAdd("n1", "/dev/sdb", 1.0, count=2, db_ratio=0.05))
    assert result["osds"] == [0, 1]
    found = house.view.snapshot().osds
    assert [(osd.device, osd.db_device, osd.db_size) for osd in found.values()] == [
        ("/dev/sdb", "/dev/sdd-0", int(0.05 * SIZE / 2)),
        ("/dev/sdb", "/dev/sdd-1", int(0.05 * SIZE / 2)),
    ]


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        (OsdAdd("n9", "/dev/sdb", 1.0), NotFound, "there is no node 'n9'"),
        (OsdAdd("n1", "sdb", 1.0), BadRequest, "'sdb' is no device"),
        (OsdAdd("n1", "/dev/sdx", 1.0), NotFound, "no disk of this node; there are /dev/sdb"),
        (OsdAdd("n1", "detect:WDC:2TB:0", 1.0), NotFound, "fits 0 disks"),
        (OsdAdd("n1", "/dev/sdb", -1.0), BadRequest, "weight"),
        (OsdAdd("n1", "/dev/sdb", 1.0, count=0), BadRequest, "osd_count"),
        (OsdAdd("n1", "/dev/sdb", 1.0, db_ratio=0.1, db_size=GIB), BadRequest, "not both"),
        (OsdAdd("n1", "/dev/sdb", 1.0, db_size=GIB), Conflict, "pvc storage osd create-db-vg n1"),
        (OsdRemove(7), NotFound, "there is no OSD 7"),
        (OsdSetFlag("noway", True), BadRequest, "'noway' is no option of OSDs; there are full"),
    ],
)
def test_what_cannot_be_is_refused_with_nothing_changed(
    house: House, operation: Operation, error: type[Exception], message: str
) -> None:
    before = picture(house)
    with pytest.raises(error, match=message):
        house.run(operation, node="n1")
    assert picture(house) == before


def test_a_disk_in_use_is_refused(osds: House) -> None:
    with pytest.raises(Conflict, match=r"/dev/sdb is not empty, it holds osd\.0"):
        osds.run(OsdAdd("n1", "/dev/sdb", 1.0))


def test_a_node_that_is_away_is_refused(osds: House) -> None:
    osds.stop_daemon("n2")
    for operation in (OsdAdd("n2", "/dev/sdc", 1.0), OsdRemove(1), OsdRefresh(1, "/dev/sdb")):
        with pytest.raises(Conflict, match="node n2 does not run"):
            osds.run(operation, node="n1")


@pytest.mark.parametrize("step", ["Partitioning", "Making OSD 2", "Waiting for OSD"])
def test_an_addition_that_is_cancelled_leaves_nothing(house: House, step: str) -> None:
    before = picture(house)
    with pytest.raises(Cancelled) as caught:
        house.run(OsdAdd("n1", "/dev/sdb", 1.0, count=2), watcher=Watcher(house, cancel_at=step))
    assert caught.value.left == ()
    assert picture(house) == before


def test_an_osd_is_removed_after_its_data_has_moved_off(osds: House) -> None:
    watcher = Watcher(osds)
    osds.run(OsdRemove(0), watcher=watcher)
    assert 0 not in osds.view.snapshot().osds
    assert 0 not in osds.osd_map.stats()
    assert [osd.id for osd in osds.osds["n1"].present()] == [3]
    parts = [message for message in watcher.messages if message.startswith("Moving all data off OSD 0 (")]
    assert len(parts) > 3
    assert "50 objects in 50 placement groups to go" in " ".join(parts)


def test_removal_is_refused_when_the_pools_copies_have_no_place(osds: House) -> None:
    osds.run(OsdRemove(3))
    look(osds)
    before = picture(osds)
    with pytest.raises(Conflict, match=r"pool vms keeps 3 copies, and without OSD 0 only 2 OSDs take data.*force"):
        osds.run(OsdRemove(0))
    assert picture(osds) == before
    osds.run(OsdRemove(0, force=True))
    assert 0 not in osds.osd_map.stats()


def test_removal_is_refused_when_the_others_would_be_too_full(osds: House) -> None:
    for osd in osds.osd_map.osds.values():
        osd.objects = 650
    before = picture(osds)
    with pytest.raises(Conflict, match=r"without OSD 0 the others would be filled to 87%, and 80% is the limit"):
        osds.run(OsdRemove(0))
    assert picture(osds) == before


def test_pools_of_one_class_of_devices_count_only_those(osds: House) -> None:
    osds.state.put(records.pool("vms"), replace(osds.view.snapshot().pools["vms"], tier="hdd"))
    osds.osd_map.pace = 100
    osds.run(OsdRemove(0))
    look(osds)
    osds.run(OsdRemove(1))
    assert sorted(osds.osd_map.stats()) == [2, 3]


def test_removal_puts_the_osd_in_again_when_nothing_moves(osds: House) -> None:
    osds.osd_map.pace = 0
    with pytest.raises(Failed, match=r"nothing moves off OSD 0 any more.*says: osd\.0 has 100 objects"):
        osds.run(OsdRemove(0))
    assert osds.osd_map.stats()[0].in_
    assert 0 in osds.view.snapshot().osds


def test_removal_can_be_cancelled_while_data_moves(osds: House) -> None:
    before = picture(osds)
    osds.osd_map.pace = 1
    with pytest.raises(Cancelled) as caught:
        osds.run(OsdRemove(0), watcher=Watcher(osds, cancel_at="to go"))
    assert caught.value.left == ()
    left = osds.osd_map.osds[0]
    assert left.in_
    left.objects = 100
    assert picture(osds) == before


def test_a_lost_nodes_osd_is_forgotten_by_force(osds: House) -> None:
    osds.stop_daemon("n2")
    osds.osd_map.osds[1].up = False
    result = osds.run(OsdRemove(1, force=True))
    assert "its disk is not wiped" in result["message"]
    assert 1 not in osds.osd_map.stats()
    assert 1 not in osds.view.snapshot().osds


def test_a_removal_that_broke_off_after_ceph_forgot_the_osd_is_completed(osds: House) -> None:
    osds.osds["n1"].stop(0)
    osds.osd_map.purge(0)
    osds.run(OsdRemove(0), attempt=2)
    assert 0 not in osds.view.snapshot().osds
    assert [osd.id for osd in osds.osds["n1"].present()] == [3]


def test_an_osd_is_replaced_under_its_number(osds: House) -> None:
    osds.run(OsdCreateDbGroup("n2", "/dev/sdd"))
    osds.run(OsdReplace(1, "/dev/sdc", old_device="detect:INTEL:800GB:0", weight=0.5, db_size=2 * GIB))
    assert osds.view.snapshot().osds[1] == Osd(1, "n2", "/dev/sdc", "/dev/sdd-1", 2 * GIB, "uuid-n2-1")
    stats = osds.osd_map.stats()[1]
    assert (stats.up, stats.in_, stats.weight) == (True, True, 0.5)
    assert not next(disk for disk in osds.osds["n2"].devices() if disk.path == "/dev/sdb").holds


def test_a_replacement_keeps_the_size_of_the_database(osds: House) -> None:
    osds.run(OsdCreateDbGroup("n2", "/dev/sdd"))
    osds.run(OsdReplace(1, "/dev/sdc", db_size=2 * GIB))
    osds.run(OsdReplace(1, "/dev/sdb"))
    assert osds.view.snapshot().osds[1].db_size == 2 * GIB


def test_replacement_is_refused_while_the_osd_has_the_last_copy(osds: House) -> None:
    osds.osd_map.last_copies = {1}
    before = picture(osds)
    with pytest.raises(
        Conflict, match=r"cannot be stopped without harm; Ceph says: stopping osd\.1 would take the only"
    ):
        osds.run(OsdReplace(1, "/dev/sdc"))
    with pytest.raises(Conflict, match="OSD 1 is on /dev/sdb, not on /dev/sdc"):
        osds.run(OsdReplace(1, "/dev/sdd", old_device="/dev/sdc"))
    assert picture(osds) == before


def test_a_replacement_that_fails_midway_says_so_and_can_be_made_again(osds: House) -> None:
    osds.osds["n2"].broken = "/dev/sdc"
    with pytest.raises(Failed, match="/dev/sdc cannot be written") as caught:
        osds.run(OsdReplace(1, "/dev/sdc"))
    assert caught.value.left
    osds.run(OsdReplace(1, "/dev/sdd"))
    assert osds.view.snapshot().osds[1].device == "/dev/sdd"


def test_an_osd_is_found_again_on_its_disk(osds: House) -> None:
    osds.state.put(records.osd(1), replace(osds.view.snapshot().osds[1], device="/dev/sdz"))
    osds.run(OsdRefresh(1, "/dev/sdb"))
    assert osds.view.snapshot().osds[1].device == "/dev/sdb"
    with pytest.raises(NotFound, match="OSD 1 does not lie on /dev/sdc"):
        osds.run(OsdRefresh(1, "/dev/sdc"))
    assert osds.osd_map.stats()[1].up


def test_out_and_in_and_the_flags(osds: House) -> None:
    osds.run(OsdSetState(1, "out"))
    assert not osds.osd_map.stats()[1].in_
    look(osds)
    with pytest.raises(Conflict, match="without OSD 2 only 2 OSDs take data"):
        osds.run(OsdSetState(2, "out"))
    osds.run(OsdSetState(1, "in"))
    assert osds.osd_map.stats()[1].in_
    osds.run(OsdSetFlag("noout", True))
    assert osds.osd_map.flags == {"noout"}
    osds.run(OsdSetFlag("noout", False))
    assert osds.osd_map.flags == set()
