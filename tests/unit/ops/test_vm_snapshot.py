"""Snapshots of machines: all disks at one moment, listed only while they are whole."""

from __future__ import annotations

import threading

import pytest

from pvc_core.errors import BadRequest, Conflict, DriverError, DriverUnavailable, Failed, Refused
from pvc_core.model.vm import DomainRun, Tag, VmMeta, VmState
from pvc_core.model.vm_snapshot import Purpose, Quiesced, SnapshotDisk, VmSnapshot
from pvc_core.ops import snapshot_steps
from pvc_core.ops.vm_power import VmStart, VmStop
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove, VmSnapshotRollback
from pvc_core.ops.volume_steps import WATCHERS_INTERVAL, WATCHERS_TIMEOUT
from pvc_core.state import records
from tests.unit.ops.house import GIB, TASK, House, xml
from tests.unit.ops.snapshots import (
    DISKS,
    LATER,
    after,
    before,
    each_call,
    fail,
    in_step,
    kill,
    leave,
    listed,
    machine,
    names,
    run_of,
)


def test_a_running_machine_is_snapshot_with_all_its_disks_at_one_moment(house: House) -> None:
    uuid = machine(house, tags=(Tag("web"),), meta=VmMeta(priority=7))
    seen: list[DomainRun] = []
    blocks = before(house, "create_snapshot", lambda: seen.append(run_of(house, uuid)), calls=3)
    result = house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
    assert result["message"] == "VM vm1 has the snapshot first"
    assert result["quiesced"] == "paused"
    assert seen == [DomainRun.PAUSED]
    assert run_of(house, uuid) is DomainRun.RUNNING
    assert house.vm(uuid).held == ""
    assert house.hypervisor("n1").started == [uuid]
    taken = house.view.snapshot().vm_snapshots[uuid]["first"]
    disks = tuple(SnapshotDisk(disk, GIB) for disk in sorted(DISKS))
    assert taken == VmSnapshot(uuid, "first", taken.created, Quiesced.PAUSED, disks, Purpose.USER, number=1)
    config = house.state.get(records.vm_snapshot_config(uuid, "first")).value
    assert (config.name, config.xml) == ("vm1", house.state.get(records.vm_xml(uuid)).value)
    assert (config.meta, config.tags) == (VmMeta(priority=7), (Tag("web"),))
    assert all(names(house, disk) == ["first"] for disk in DISKS)
    assert in_step(house)


def test_the_machine_is_held_in_its_record_before_it_stands_still(house: House) -> None:
    uuid = machine(house)
    seen: list[str] = []
    house.run(
        VmSnapshotCreate(uuid, "first"),
        blocks=before(house, "create_snapshot", lambda: seen.append(house.vm(uuid).held)),
    )
    assert seen == [TASK]


def test_an_agent_freezes_the_guest(house: House) -> None:
    uuid = machine(house)
    house.hypervisor("n1").agents.add(uuid)
    seen: list[set[str]] = []
    blocks = before(house, "create_snapshot", lambda: seen.append(set(house.hypervisor("n1").frozen)))
    assert house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)["quiesced"] == "guest"
    assert seen == [{uuid}]
    assert not house.hypervisor("n1").frozen


def test_a_stopped_machine_is_snapshot_too(house: House) -> None:
    uuid = machine(house, VmState.STOP)
    assert house.run(VmSnapshotCreate(uuid, "first"))["quiesced"] == "off"
    assert listed(house, uuid) == ["first"]


def test_a_machine_that_is_paused_already_stays_so(house: House) -> None:
    uuid = machine(house)
    house.hypervisor("n1").stall(uuid)
    house.run(VmSnapshotCreate(uuid, "first"))
    assert (run_of(house, uuid), listed(house, uuid)) == (DomainRun.PAUSED, ["first"])


def test_the_standstill_is_measured(house: House) -> None:
    uuid = machine(house)
    blocks = before(house, "create_snapshot", lambda: house.lab.clock.advance(0.25))
    result = house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
    assert result["standstill_ms"] == 250
    assert result["message"] == "VM vm1 has the snapshot first; the VM stood still for 250 ms"


def test_clients_that_died_are_waited_for_before_the_machine_stands_still(house: House) -> None:
    uuid = machine(house)
    watchers = house.blocks.image(*DISKS[0].split("/")).watchers
    watchers += ["10.0.0.1:0/1", "10.0.0.1:0/2"]
    blocks = after(house, "watchers", watchers.pop, calls=3)
    begun = house.lab.clock.monotonic()
    result = house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
    assert len(watchers) == 1
    assert house.lab.clock.monotonic() - begun >= 2 * WATCHERS_INTERVAL
    assert result["standstill_ms"] == 0


def test_a_second_client_that_lives_does_not_keep_a_machine_from_its_snapshot(house: House) -> None:
    uuid = machine(house)
    house.blocks.image(*DISKS[0].split("/")).watchers += ["10.0.0.1:0/1", "10.0.0.1:0/2"]
    begun = house.lab.clock.monotonic()
    house.run(VmSnapshotCreate(uuid, "first"))
    assert house.lab.clock.monotonic() - begun >= WATCHERS_TIMEOUT
    assert listed(house, uuid) == ["first"]


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "a" * 101, "é"])
def test_a_name_must_be_a_name(house: House, name: str) -> None:
    uuid = machine(house)
    earlier = house.picture()
    with pytest.raises(BadRequest, match="cannot be the name of a snapshot"):
        house.run(VmSnapshotCreate(uuid, name))
    assert house.picture() == earlier


def test_what_cannot_be_snapshot_is_refused(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    house.volume_snapshot("log1", "mine")
    moving = house.define(2, VmState.PROVISION)
    mirror = house.define(3, VmState.MIRROR)
    bare = house.define(4)
    domain = house.state.get(records.vm_xml(bare))
    house.state.transaction().update(domain, xml("vm4", uuid=bare)).commit()
    earlier = house.picture()
    for operation, reason in (
        (VmSnapshotCreate(uuid, "first"), "has a snapshot 'first' already"),
        (VmSnapshotCreate(uuid, "mine"), "volume vms/log1, a disk of VM vm1, has a snapshot 'mine' of its own"),
        (VmSnapshotCreate(moving, "a"), "is being provisioned"),
        (VmSnapshotCreate(mirror, "a"), "is received from another cluster"),
        (VmSnapshotCreate(bare, "a"), "nothing to snapshot"),
        (VmSnapshotCreate("missing", "a"), "there is no VM missing"),
        (VmSnapshotRemove(uuid, "second"), "has no snapshot 'second'; it has first"),
        (VmSnapshotRollback(uuid, "second"), "has no snapshot 'second'; it has first"),
        (VmSnapshotRollback(uuid, "first"), "is not stopped"),
    ):
        with pytest.raises(Refused, match=reason):
            house.run(operation)
    assert house.picture() == earlier


def test_a_snapshot_in_ceph_that_nobody_knows_is_left_alone(house: House) -> None:
    uuid = machine(house)
    house.blocks.create_snapshot("vms", "log1", "first")
    earlier = house.picture()
    with pytest.raises(Conflict, match="has a snapshot 'first' of its own in Ceph"):
        house.run(VmSnapshotCreate(uuid, "first"))
    assert house.picture() == earlier


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("error", [DriverUnavailable("Ceph does not answer"), DriverError("no space")])
def test_a_snapshot_that_fails_leaves_nothing_and_the_machine_goes_on(
    house: House, call: int, error: DriverError
) -> None:
    uuid = machine(house)
    house.hypervisor("n1").agents.add(uuid)
    earlier = house.picture()
    for blocks in (
        before(house, "create_snapshot", fail(error), calls=call),
        after(house, "create_snapshot", fail(error), calls=call),
        before(house, "inspect", fail(error), calls=3 + call),
    ):
        with pytest.raises((Failed, DriverError)) as caught:
            house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
        assert getattr(caught.value, "left", ()) == ()
        assert house.picture() == earlier
        assert run_of(house, uuid) is DomainRun.RUNNING
        assert not house.hypervisor("n1").frozen


@pytest.mark.parametrize("run", ["freeze", "pause"])
def test_a_machine_that_cannot_be_brought_to_rest_goes_on(house: House, run: str) -> None:
    uuid = machine(house)
    earlier = house.picture()
    setattr(house.hypervisor("n1"), run, lambda uuid: fail(DriverUnavailable("libvirt does not answer"))())
    with pytest.raises(Failed, match="libvirt does not answer"):
        house.run(VmSnapshotCreate(uuid, "first"))
    assert house.picture() == earlier
    assert run_of(house, uuid) is DomainRun.RUNNING


def test_the_machine_does_not_wait_for_a_slow_ceph(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = machine(house)
    monkeypatch.setattr(snapshot_steps, "STANDSTILL_LIMIT", 0.05)
    earlier = house.picture()
    runs = threading.Event()
    hypervisor = house.hypervisor("n1")
    release = hypervisor.release
    hypervisor.release = lambda uuid: (release(uuid), runs.set())  # type: ignore[assignment]
    blocks = before(house, "create_snapshot", lambda: runs.wait(30), calls=2)
    with pytest.raises(Failed, match="Ceph did not make 1 of 3 snapshots"):
        house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
    assert house.picture() == earlier


@pytest.mark.parametrize("event", ["release", "crash"])
def test_disks_that_were_not_at_rest_throughout_are_no_snapshot(house: House, event: str) -> None:
    uuid = machine(house)
    blocks = before(house, "create_snapshot", lambda: getattr(house.hypervisor("n1"), event)(uuid), calls=2)
    with pytest.raises(Failed, match="ended or went on"):
        house.run(VmSnapshotCreate(uuid, "first"), blocks=blocks)
    assert listed(house, uuid) == []
    assert all(names(house, disk) == [] for disk in DISKS)
    assert run_of(house, uuid) is DomainRun.RUNNING


def test_disks_of_a_machine_that_started_meanwhile_are_no_snapshot(house: House) -> None:
    uuid = machine(house, VmState.STOP)

    def start() -> None:
        house.change(uuid, state=VmState.START)
        house.lab.cycle()

    with pytest.raises(Failed, match="was started while its disks were snapshot"):
        house.run(VmSnapshotCreate(uuid, "first"), blocks=before(house, "create_snapshot", start, calls=2))
    assert listed(house, uuid) == []
    assert all(names(house, disk) == [] for disk in DISKS)


def test_a_machine_that_is_not_let_go_on_is_left_to_its_node(house: House) -> None:
    uuid = machine(house)
    hypervisor = house.hypervisor("n1")
    hypervisor.agents.add(uuid)
    release, silent = hypervisor.release, [True]

    def release_later(uuid: str) -> None:
        if silent:
            raise DriverUnavailable("the agent does not answer")
        release(uuid)

    hypervisor.release = release_later
    with pytest.raises(Failed, match="did not answer after its snapshot 'first' was made") as caught:
        house.run(VmSnapshotCreate(uuid, "first"))
    assert "until its node has thawed them" in caught.value.left[0]
    assert listed(house, uuid) == ["first"]
    silent.clear()
    house.lab.advance(5)
    assert run_of(house, uuid) is DomainRun.RUNNING
    assert (house.vm(uuid).held, hypervisor.frozen) == ("", set())


@pytest.mark.parametrize(("method", "call"), each_call("create_snapshot"))
def test_what_a_killed_worker_left_is_completed(house: House, method: str, call: int) -> None:
    uuid = machine(house)
    house.hypervisor("n1").agents.add(uuid)
    leave(house, VmSnapshotCreate(uuid, "first"), after(house, method, kill, calls=call))
    house.run(VmSnapshotCreate(uuid, "first"), attempt=2)
    assert listed(house, uuid) == ["first"]
    assert all(names(house, disk) == ["first"] for disk in DISKS)
    assert in_step(house)
    assert run_of(house, uuid) is DomainRun.RUNNING
    assert (house.vm(uuid).held, house.hypervisor("n1").frozen) == ("", set())


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_machine_that_a_killed_worker_held_goes_on_without_it(house: House, call: int) -> None:
    uuid = machine(house)
    house.hypervisor("n1").agents.add(uuid)
    leave(house, VmSnapshotCreate(uuid, "first"), after(house, "create_snapshot", kill, calls=call))
    house.lab.advance(4)
    assert run_of(house, uuid) is DomainRun.RUNNING
    assert (house.vm(uuid).held, house.hypervisor("n1").frozen) == ("", set())
    assert listed(house, uuid) == []
    house.run(VmStop(uuid), task=LATER)


def test_a_second_attempt_lets_the_machine_go_on_that_the_first_one_held(house: House) -> None:
    uuid = machine(house)
    house.stop_daemon("n1")
    leave(house, VmSnapshotCreate(uuid, "first"), after(house, "create_snapshot", kill, calls=2))
    assert (run_of(house, uuid), house.vm(uuid).held) == (DomainRun.PAUSED, TASK)
    house.run(VmSnapshotCreate(uuid, "first"), attempt=2)
    assert (run_of(house, uuid), house.vm(uuid).held) == (DomainRun.RUNNING, "")
    assert listed(house, uuid) == ["first"]


def test_nothing_else_is_done_with_a_machine_that_was_left_standing(house: House) -> None:
    uuid = machine(house)
    house.stop_daemon("n1")
    house.change(uuid, held=TASK)
    for operation in (VmStart(uuid), VmSnapshotCreate(uuid, "first")):
        with pytest.raises(Conflict, match="was left standing by task"):
            house.run(operation, task=LATER, node="n1")


def test_a_snapshot_that_was_complete_is_not_made_again(house: House) -> None:
    uuid = machine(house)
    house.run(VmSnapshotCreate(uuid, "first"))
    earlier = house.picture()
    house.run(VmSnapshotCreate(uuid, "first"), attempt=2)
    assert house.picture() == earlier
