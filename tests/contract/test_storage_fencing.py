"""That what is shut out of the storage can do nothing there, and that nobody else is."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pvc_core.config import CephConfig
from pvc_core.drivers import ceph_connection
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.ceph_connection import CephConnection
from pvc_core.drivers.ceph_fencing import host_of
from pvc_core.errors import BadRequest, Conflict, DriverUnavailable
from pvc_core.ports import Locker
from tests.contract.storage import MIB, POOL, CephStorageWorld, FakeStorageWorld, StorageWorld
from tests.contract.worlds import eventually

REAL = pytest.mark.services
_names = itertools.count()


@pytest.fixture(scope="module")
def ceph_world() -> Iterator[CephStorageWorld]:
    world = CephStorageWorld()
    yield world
    world.close()


@pytest.fixture(params=["fake", pytest.param("ceph", marks=REAL)])
def world(request: pytest.FixtureRequest) -> Iterator[StorageWorld]:
    world = FakeStorageWorld() if request.param == "fake" else request.getfixturevalue("ceph_world")
    yield world
    world.clear()


@pytest.fixture
def real(ceph_world: CephStorageWorld) -> Iterator[CephStorageWorld]:
    yield ceph_world
    ceph_world.clear()


def new_image(world: StorageWorld) -> str:
    name = f"disk{next(_names)}"
    world.blocks.create(POOL, name, 4 * MIB)
    return name


def test_a_host_that_is_shut_out_writes_no_more_and_others_go_on(world: StorageWorld) -> None:
    dead, living = world.hosts
    image, other = new_image(world), new_image(world)
    old, bystander = world.client(image, dead), world.client(other, living)
    assert old.write()
    assert bystander.write()
    world.blocks.shut_out([dead])
    world.blocks.break_locks(POOL, image, [dead])
    assert world.client(image, living).write()
    assert not old.write()
    assert not world.client(image, dead).write()  # one that connects only now
    assert bystander.write()
    assert world.blocks.shut_out_hosts() == {dead}


def test_a_host_is_let_in_again(world: StorageWorld) -> None:
    dead, living = world.hosts
    image = new_image(world)
    world.blocks.shut_out([dead, living])
    world.blocks.readmit([dead, "192.0.2.99"])
    assert world.blocks.shut_out_hosts() == {living}
    assert world.client(image, dead).write()


def test_what_is_shut_out_already_stays_so(world: StorageWorld) -> None:
    dead, living = world.hosts
    world.blocks.shut_out([dead])
    world.blocks.shut_out([dead, living])
    assert world.blocks.shut_out_hosts() == {dead, living}


def test_a_lock_is_known_by_its_client_and_host_and_broken_for_its_host_alone(world: StorageWorld) -> None:
    dead, living = world.hosts
    image, other = new_image(world), new_image(world)
    old, bystander = world.client(image, dead), world.client(other, living)
    assert old.write()
    assert bystander.write()
    (lock,) = world.blocks.lockers(POOL, image)
    assert lock == Locker(lock.client, dead)
    assert lock.client.startswith("client.")
    assert world.blocks.break_locks(POOL, image, [dead]) == 1
    assert world.blocks.break_locks(POOL, other, [dead]) == 0
    assert world.blocks.break_locks(POOL, other, []) == 0
    assert world.blocks.lockers(POOL, image) == []
    assert [locker.host for locker in world.blocks.lockers(POOL, other)] == [living]
    assert not old.write()
    assert bystander.write()


def test_who_had_a_lock_that_was_broken_stays_out_when_its_host_is_let_in(world: StorageWorld) -> None:
    dead = world.hosts[0]
    image = new_image(world)
    old = world.client(image, dead)
    assert old.write()
    world.blocks.shut_out([dead])
    assert world.blocks.break_locks(POOL, image) == 1
    world.blocks.readmit([dead])
    assert not old.write()
    assert world.client(image, dead).write()


def test_addresses_are_the_same_however_they_are_written(world: StorageWorld) -> None:
    world.blocks.shut_out(["FD00:0::0001", "::ffff:192.0.2.77"])
    assert world.blocks.shut_out_hosts() == {"fd00::1", "192.0.2.77"}
    world.blocks.readmit(["fd00:0:0::1"])
    assert world.blocks.shut_out_hosts() == {"192.0.2.77"}


def test_what_cannot_be_shut_out_is_refused_and_nothing_changed(world: StorageWorld) -> None:
    with pytest.raises(Conflict, match=f"{world.own} is the address of this very client"):
        world.blocks.shut_out([world.hosts[0], world.own])
    with pytest.raises(BadRequest, match="no address is given"):
        world.blocks.shut_out([])
    with pytest.raises(BadRequest, match="'node3' is no IP address"):
        world.blocks.shut_out([world.hosts[0], "node3"])
    assert world.blocks.shut_out_hosts() == set()


def test_nothing_is_marked_down_at_a_host_that_has_no_osd(world: StorageWorld) -> None:
    assert world.blocks.drop_silent_osds([world.hosts[1], "192.0.2.99"]) == []


@REAL
def test_an_osd_that_cannot_be_reached_is_marked_down_and_comes_back_by_itself(real: CephStorageWorld) -> None:
    dead, living = real.hosts
    assert real.blocks.drop_silent_osds([dead, living]) == [], "it answers"
    with real.cable_cut(dead):
        assert real.blocks.drop_silent_osds([dead]) == [1]
        assert real.osd_up_from() == 0
        assert real.blocks.drop_silent_osds([dead]) == []
        assert real.client(new_image(real), living).write()
    eventually(lambda: real.osd_up_from() > 0, timeout=60)


@REAL
def test_a_paused_hosts_own_osd_takes_nothing_from_it_when_both_wake_and_comes_back_by_itself(
    real: CephStorageWorld,
) -> None:
    dead, living = real.hosts
    images = [new_image(real) for _ in range(8)]  # so that some have their primary copy at the paused host
    old = [real.client(image, dead) for image in images]
    assert all(client.write("old") for client in old)
    came_up = real.osd_up_from()
    real.pause_osd()
    for client in old:
        client.process.send_signal(signal.SIGSTOP)
        client.begin("write late")
    real.blocks.shut_out([dead])
    for image in images:
        assert real.blocks.break_locks(POOL, image, [dead]) == 1
    new = [real.client(image, living) for image in images]
    assert all(client.write("new") for client in new)
    real.resume_osd()
    for client in old:
        client.process.send_signal(signal.SIGCONT)
    assert [client.answer() for client in old] == ["no ConnectionShutdown"] * len(old)
    eventually(lambda: real.osd_up_from() > came_up, timeout=60)
    assert [client.read() for client in new] == ["new"] * len(new)


@REAL
def test_an_osd_that_came_up_at_a_host_that_was_shut_out_is_not_marked_down_again(real: CephStorageWorld) -> None:
    dead = real.hosts[0]
    before = real.osd_up_from()
    real.blocks.shut_out([dead])
    eventually(lambda: real.osd_up_from() > before, timeout=60)
    came_up = real.osd_up_from()
    real.blocks.shut_out([dead])
    assert real.osd_up_from() == came_up


@REAL
def test_an_entry_that_an_administrator_made_for_an_hour_does_not_end_the_fence(real: CephStorageWorld) -> None:
    dead = real.hosts[0]
    real.ceph("osd", "blocklist", "add", f"{dead}:0/0", "3600")
    real.blocks.shut_out([dead])
    until = json.loads(real.ceph("osd", "dump"))["blocklist"][f"{dead}:0/0"]
    assert datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(days=3000)


@REAL
def test_without_a_monitor_nothing_is_shut_out_and_the_caller_learns_it(
    real: CephStorageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceph_connection, "MONITOR_TIMEOUT", 2)
    config = CephConfig(config_file=real.config)
    blocks, connection = CephBlockStore(config), CephConnection(config)
    assert blocks.shut_out_hosts() == set()
    connection.wait_for_map()
    with real.monitor_paused():
        with pytest.raises(DriverUnavailable):
            blocks.shut_out([real.hosts[0]])
        with pytest.raises(DriverUnavailable, match="newest map"):
            connection.wait_for_map()
    connection.wait_for_map()
    assert blocks.shut_out_hosts() == set()
    connection.close()
    blocks.close()


@pytest.mark.parametrize(
    ("printed", "host"),
    [
        ("10.77.0.4:0/180573139", "10.77.0.4"),
        ("10.77.0.4:0/0", "10.77.0.4"),
        ("10.77.0.1:6800", "10.77.0.1"),
        ("[fd77::4]:0/3638493550", "fd77::4"),
        ("[fd77::1]:6800", "fd77::1"),
        ("v2:10.77.0.1:3300/0", "10.77.0.1"),
        ("v1:[fd77::1]:6789/0", "fd77::1"),
        ("[::ffff:10.77.0.1]:6800/7", "10.77.0.1"),
    ],
)
def test_the_host_of_each_address_that_ceph_prints(printed: str, host: str) -> None:
    assert host_of(printed) == host
