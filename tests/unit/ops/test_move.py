"""Migrate, unmigrate and move: live, by shutdown, and of machines that do not run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import Cancelled, Conflict, DriverError, Failed, NotFound
from pvc_core.model.node import DomainState
from pvc_core.model.vm import Migration, MigrationMethod, RunState, VmMeta, VmState
from pvc_core.ops.vm_migrate import VmMigrate, VmMove, VmUnmigrate
from pvc_core.state import records
from tests.unit.ops.house import TASK, House, Watcher

SHUTDOWN = VmMeta(migration_method=MigrationMethod.SHUTDOWN)
LIVE = VmMeta(migration_method=MigrationMethod.LIVE)


@pytest.fixture
def uuid(house: House) -> str:
    return house.define(1, VmState.START)


def test_migrate_hands_a_running_machine_over(house: House, uuid: str) -> None:
    answer = house.run(VmMigrate(uuid, "n2"))
    assert answer == {"message": "VM vm1 is on node n2, and may return to node n1", "node": "n2", "last_node": "n1"}
    assert house.runs_on(uuid) == ["n2"]
    assert house.hypervisor("n1").started == [uuid]
    assert house.hypervisor("n2").started == []
    assert house.vm(uuid).migration is None


def test_progress_is_told_in_parts_of_the_copy(house: House, uuid: str) -> None:
    watcher = Watcher(house)
    house.run(VmMigrate(uuid, "n2"), watcher=watcher)
    assert "Copying the memory of VM vm1 to node n2 (50 %)" in watcher.messages


def test_without_a_target_the_best_node_takes_it(house: House, uuid: str) -> None:
    house.set_stats("n3", free=8000)
    assert house.run(VmMigrate(uuid))["node"] == "n3"


def test_unmigrate_brings_it_back(house: House, uuid: str) -> None:
    house.run(VmMigrate(uuid, "n2"))
    house.run(VmUnmigrate(uuid))
    assert house.runs_on(uuid) == ["n1"]
    assert house.vm(uuid).last_node == ""


def test_a_second_migration_needs_force_and_remembers_the_first_home(house: House, uuid: str) -> None:
    house.run(VmMigrate(uuid, "n2"))
    with pytest.raises(Conflict, match="was migrated from node n1"):
        house.run(VmMigrate(uuid, "n3"))
    assert house.run(VmMigrate(uuid, "n3", force=True))["last_node"] == "n1"
    assert house.run(VmMigrate(uuid, "n1", force=True))["last_node"] == ""


def test_move_is_for_good(house: House, uuid: str) -> None:
    house.run(VmMigrate(uuid, "n2"))
    house.run(VmMove(uuid, "n3"))
    assert house.runs_on(uuid) == ["n3"]
    assert house.vm(uuid).last_node == ""


def test_by_shutdown_it_is_stopped_here_and_started_there(house: House, uuid: str) -> None:
    house.change(uuid, meta=SHUTDOWN)
    house.run(VmMigrate(uuid, "n2"))
    assert house.runs_on(uuid) == ["n2"]
    assert house.hypervisor("n1").ended[uuid].reason == "shutdown"
    assert house.vm(uuid).last_node == "n1"
    assert house.vm(uuid).state is VmState.START


def test_where_live_cannot_be_it_is_shut_down(house: House, uuid: str) -> None:
    house.hypervisor("n1").migrate_error = "a host device is attached"
    house.run(VmMigrate(uuid, "n2"))
    assert house.runs_on(uuid) == ["n2"]
    assert house.hypervisor("n2").started == [uuid]


@pytest.mark.parametrize(("meta", "force_live"), [(LIVE, False), (SHUTDOWN, True), (VmMeta(), True)])
def test_a_machine_that_may_only_move_live_stays(house: House, uuid: str, meta: VmMeta, force_live: bool) -> None:
    house.change(uuid, meta=meta)
    house.hypervisor("n1").migrate_error = "a host device is attached"
    before = house.picture()
    with pytest.raises(Failed, match="a host device") as caught:
        house.run(VmMigrate(uuid, "n2", force_live=force_live))
    assert isinstance(caught.value.__cause__, DriverError)
    assert caught.value.left == ()
    assert house.picture() == before
    assert house.hypervisor("n1").started == [uuid]


def test_a_machine_that_does_not_run_is_given_away(house: House) -> None:
    uuid = house.define(2)
    house.set_stats("n2", free=1)
    assert house.run(VmMigrate(uuid, "n2"))["last_node"] == "n1"
    assert house.vm(uuid).node == "n2"
    assert house.vm(uuid).state is VmState.STOP
    house.run(VmUnmigrate(uuid))
    assert house.vm(uuid).node == "n1"


def test_a_machine_that_was_given_up_is_tried_by_the_other_node(house: House) -> None:
    uuid = house.define(2)
    house.fail(uuid)
    house.run(VmMove(uuid, "n2"))
    assert house.runs_on(uuid) == ["n2"]


def test_a_machine_that_waits_for_a_place_is_started_where_it_is_moved_by_hand(house: House) -> None:
    uuid = house.define(2)
    house.state.put(records.vm_status(uuid), replace(house.status(uuid), run=RunState.WAITING, reason="no room"))
    house.change(uuid, state=VmState.START)
    house.lab.cycle()
    assert house.runs_on(uuid) == []
    house.run(VmMove(uuid, "n2"))
    assert house.runs_on(uuid) == ["n2"]


def test_a_machine_that_is_off_leaves_a_node_that_is_away(house: House) -> None:
    uuid = house.define(2)
    house.stop_daemon("n1")
    house.run(VmMove(uuid, "n2"), node="n3")
    assert house.vm(uuid).node == "n2"


def test_a_cancelled_live_migration_leaves_the_machine_running_here(house: House, uuid: str) -> None:
    before = house.picture()
    with pytest.raises(Cancelled) as caught:
        house.run(VmMigrate(uuid, "n2"), watcher=Watcher(house, cancel_at="(25 %)"))
    assert caught.value.left == ()
    assert house.picture() == before


def test_a_cancelled_move_by_shutdown_leaves_the_machine_started_here(house: House, uuid: str) -> None:
    house.change(uuid, meta=SHUTDOWN)
    house.hypervisor("n1").deaf.add(uuid)
    before = house.picture()
    with pytest.raises(Cancelled) as caught:
        house.run(VmMigrate(uuid, "n2"), watcher=Watcher(house, cancel_at="Shutting"))
    assert caught.value.left == ()
    house.lab.advance(60)
    assert house.picture() == before


def test_a_machine_that_does_not_start_there_comes_back(house: House, uuid: str) -> None:
    house.change(uuid, meta=SHUTDOWN)
    house.hypervisor("n2").start_error = "no such bridge"
    before = house.picture()
    with pytest.raises(Failed, match="no such bridge") as caught:
        house.run(VmMigrate(uuid, "n2"))
    assert caught.value.left == ()
    house.lab.advance(4)
    assert house.picture() == before


def test_a_target_that_dies_after_the_handover_completes_it_when_it_is_back(house: House, uuid: str) -> None:
    watcher = Watcher(house)
    report = watcher.report

    def die(current: int, total: int, message: str) -> None:
        report(current, total, message)
        if message.startswith("Copying") and "n2" in house.lab.nodes:
            house.stop_daemon("n2")

    watcher.report = die  # type: ignore[method-assign]
    with pytest.raises(Failed, match="not known yet whether VM vm1 runs on node n2"):
        house.run(VmMigrate(uuid, "n2"), watcher=watcher)
    house.lab.start_node("n2")
    house.lab.advance(4)
    assert house.runs_on(uuid) == ["n2"]
    assert house.vm(uuid).node == "n2"
    assert house.vm(uuid).last_node == "n1"


def test_a_machine_that_dies_at_its_arrival_is_started_here_again(house: House, uuid: str) -> None:
    target = house.hypervisor("n2")
    target.on_change(lambda: target.guests.pop(uuid, None))
    with pytest.raises(Failed, match="does not run there"):
        house.run(VmMigrate(uuid, "n2", force_live=True))
    house.lab.advance(30)
    assert house.runs_on(uuid) == ["n1"]


def test_libvirt_away_during_the_copy_is_waited_for(house: House, uuid: str) -> None:
    here = house.hypervisor("n1")
    watcher = Watcher(house)
    report = watcher.report

    def lose(current: int, total: int, message: str) -> None:
        report(current, total, message)
        here.unavailable = message.startswith("Copying the memory of VM vm1 to node n2")
        if "25 %" in message:
            here.migrate_error = "the connection to libvirt broke"

    watcher.report = lose  # type: ignore[method-assign]
    began = house.lab.clock.now()
    cycle = house.lab.cycle

    def come_back(times: int = 4) -> None:
        here.unavailable = here.unavailable and house.lab.clock.now() < began + 20
        cycle(times)

    house.lab.cycle = come_back  # type: ignore[method-assign]
    with pytest.raises(Failed, match="libvirt") as caught:
        house.run(VmMigrate(uuid, "n2", force_live=True), watcher=watcher)
    assert caught.value.left == ()
    assert house.vm(uuid).migration is None
    assert house.runs_on(uuid) == ["n1"]


def test_a_target_whose_libvirt_is_away_may_run_it_and_nobody_else_does(house: House, uuid: str) -> None:
    target = house.hypervisor("n2")
    target.on_change(lambda: setattr(target, "unavailable", True))
    with pytest.raises(Failed, match="not known yet whether VM vm1 runs on node n2"):
        house.run(VmMigrate(uuid, "n2"))
    house.lab.advance(120)
    assert house.runs_on(uuid) == ["n2"]
    target.unavailable = False
    house.lab.advance(4)
    assert house.runs_on(uuid) == ["n2"]
    assert house.vm(uuid).node == "n2"


class TestResume:
    """A second attempt, after the worker of the first was killed."""

    def test_before_anything_was_done(self, house: House, uuid: str) -> None:
        house.run(VmMigrate(uuid, "n2"), attempt=2)
        assert house.runs_on(uuid) == ["n2"]

    def test_marked_and_still_here(self, house: House, uuid: str) -> None:
        house.change(uuid, migration=Migration("n2", TASK, "n1"))
        house.run(VmMigrate(uuid, "n2"), attempt=2, node="n1")
        assert house.runs_on(uuid) == ["n2"]
        assert house.vm(uuid).last_node == "n1"

    def test_marked_and_handed_over(self, house: House, uuid: str) -> None:
        house.change(uuid, migration=Migration("n2", TASK, "n1"))
        house.hypervisor("n1").migrate(uuid, "n2", 300, lambda _: None, lambda: False)
        house.run(VmMigrate(uuid, "n2"), attempt=2, node="n1")
        assert house.runs_on(uuid) == ["n2"]
        assert house.vm(uuid).last_node == "n1"

    @pytest.mark.parametrize("operation", [VmMigrate, VmMove])
    @pytest.mark.parametrize("target", ["", "n2"])
    def test_all_done(self, house: House, uuid: str, operation: type[VmMigrate], target: str) -> None:
        house.run(operation(uuid, target))
        before = house.picture()
        house.run(operation(uuid, target), attempt=2, node="n1")
        assert house.picture() == before

    def test_back_already(self, house: House, uuid: str) -> None:
        house.run(VmMigrate(uuid, "n2"))
        house.run(VmUnmigrate(uuid))
        house.run(VmUnmigrate(uuid), attempt=2, node="n2")
        assert house.runs_on(uuid) == ["n1"]

    @pytest.mark.parametrize("asked", [VmState.SHUTDOWN, VmState.STOP])
    def test_shut_down_on_its_way(self, house: House, uuid: str, asked: VmState) -> None:
        deadline = house.lab.clock.now() + 5
        marker = Migration("n2", TASK, "n1", live=False)
        house.change(uuid, meta=SHUTDOWN, state=asked, shutdown_deadline=deadline, migration=marker)
        house.lab.cycle()
        house.run(VmMigrate(uuid, "n2"), attempt=2, node="n1")
        assert house.runs_on(uuid) == ["n2"]
        assert house.vm(uuid).last_node == "n1"
        assert house.vm(uuid).migration is None


def test_a_marker_that_another_task_left_is_taken_off(house: House, uuid: str) -> None:
    house.change(uuid, migration=Migration("n3", "an earlier task", "n1"))
    house.run(VmMigrate(uuid, "n2"))
    assert house.runs_on(uuid) == ["n2"]


def refused(house: House, operation: VmMigrate | VmMove | VmUnmigrate, error: type[Exception], reason: str) -> None:
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation)
    assert house.picture() == before


def test_a_node_that_is_not_there(house: House, uuid: str) -> None:
    refused(house, VmMigrate(uuid, "n9"), NotFound, "there is no node 'n9'; there are n1, n2, n3")


def test_its_own_node(house: House, uuid: str) -> None:
    refused(house, VmMove(uuid, "n1"), Conflict, "VM vm1 is on node n1 already")


@pytest.mark.parametrize("state", [DomainState.FLUSH, DomainState.FLUSHED, DomainState.UNFLUSH])
def test_a_node_that_is_not_ready(house: House, uuid: str, state: DomainState) -> None:
    house.set_domain_state("n2", state)
    refused(house, VmMigrate(uuid, "n2"), Conflict, f"not ready .{state}.")


def test_a_node_that_is_away(house: House, uuid: str) -> None:
    house.stop_daemon("n2")
    refused(house, VmMigrate(uuid, "n2"), Conflict, "node n2 cannot take the machine: it is not running")


def test_a_node_outside_its_limit(house: House, uuid: str) -> None:
    house.change(uuid, meta=VmMeta(node_limit=("n1", "n3")))
    refused(house, VmMigrate(uuid, "n2"), Conflict, "limit")


def test_a_node_without_room(house: House, uuid: str) -> None:
    house.set_stats("n2", free=511)
    refused(house, VmMigrate(uuid, "n2"), Conflict, "511 MiB free and not promised, 512 MiB needed")


def test_no_node_at_all(house: House, uuid: str) -> None:
    house.set_domain_state("n2", DomainState.FLUSHED)
    house.stop_daemon("n3")
    refused(house, VmMigrate(uuid), Conflict, "no node can take the machine: .*n2 is not ready.*n3 is not running")


def test_unmigrate_of_a_machine_that_is_at_home(house: House, uuid: str) -> None:
    refused(house, VmUnmigrate(uuid), Conflict, "was not migrated")


def test_a_machine_that_is_being_stopped(house: House, uuid: str) -> None:
    house.hypervisor("n1").unavailable = True
    house.change(uuid, state=VmState.STOP)
    refused(house, VmMove(uuid, "n2"), Conflict, "is being stopped")


def test_a_machine_on_a_node_that_is_away(house: House, uuid: str) -> None:
    house.stop_daemon("n1")
    assert house.status(uuid).run is RunState.RUNNING
    refused(house, VmMove(uuid, "n2"), Conflict, "node n1, whose daemon does not answer")
