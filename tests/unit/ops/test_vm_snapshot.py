"""Snapshots of machines: all disks at one moment, listed only while they are whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, DriverError, DriverUnavailable, Failed, NotFound, Refused
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.model.domain_edit import set_name
from pvc_core.model.vm import DomainRun, Tag, VmMeta, VmState
from pvc_core.model.vm_snapshot import Purpose, Quiesced, SnapshotDisk, VmSnapshot
from pvc_core.ops import snapshot_steps
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import VmOperation
from pvc_core.ops.vm_power import VmStart, VmStop
from pvc_core.ops.vm_remove import VmRemove, VmUndefine
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove, VmSnapshotRollback
from pvc_core.state import records
from pvc_core.state.records import Lock
from tests.unit.ops.house import GIB, TASK, House, Watcher, xml

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
    assert taken == VmSnapshot(uuid, "first", taken.created, Quiesced.PAUSED, disks, Purpose.USER)
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
    lock = records.lock(snapshot_steps.snapshot_lock(uuid, "first"))
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


@dataclass(frozen=True)
class Removal(VmOperation):
    """One that removes a snapshot as a part of what it does."""

    name: str

    task_name = "test.removal"
    summary = "Remove a snapshot among other things"

    def execute(self, run: Run) -> None:
        snapshot_steps.remove_vm_snapshot(run, self.vm, self.name)


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
