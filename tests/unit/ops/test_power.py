"""Start, stop, shutdown, restart, disable."""

from __future__ import annotations

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound
from pvc_core.model.node import DomainState
from pvc_core.model.vm import Migration, RunState, VmState
from pvc_core.ops.vm_power import VmDisable, VmRestart, VmShutdown, VmStart, VmStop
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher


def test_start_ends_when_the_machine_runs(house: House) -> None:
    uuid = house.define(1)
    assert house.run(VmStart(uuid)) == {"message": "VM vm1 runs on node n1"}
    assert house.runs_on(uuid) == ["n1"]
    assert house.vm(uuid).state is VmState.START


def test_start_of_a_running_machine_is_done_at_once(house: House) -> None:
    uuid = house.define(1, VmState.START)
    before = house.picture()
    house.run(VmStart(uuid))
    assert house.picture() == before


def test_a_machine_that_was_given_up_is_started_anew(house: House) -> None:
    uuid = house.define(1)
    house.fail(uuid)
    house.run(VmStart(uuid))
    assert house.runs_on(uuid) == ["n1"]


def test_a_start_that_fails_says_why_and_the_machine_is_shown_as_failed(house: House) -> None:
    uuid = house.define(1)
    house.hypervisor("n1").start_error = "no such image"
    with pytest.raises(Failed, match="no such image"):
        house.run(VmStart(uuid))
    assert house.vm(uuid).state is VmState.START
    assert house.status(uuid).run is RunState.FAILED


def test_a_start_that_no_node_answers_is_taken_back(house: House) -> None:
    uuid = house.define(1)
    house.hypervisor("n1").unavailable = True
    with pytest.raises(Failed, match="did not start VM vm1 within 120 s"):
        house.run(VmStart(uuid))
    assert house.vm(uuid).state is VmState.STOP


def test_a_cancelled_start_is_taken_back(house: House) -> None:
    uuid = house.define(1)
    house.hypervisor("n1").unavailable = True
    with pytest.raises(Cancelled):
        house.run(VmStart(uuid), watcher=Watcher(house, cancel_at="Starting"))
    assert house.vm(uuid).state is VmState.STOP


def test_stop_cuts_the_power(house: House) -> None:
    uuid = house.define(1, VmState.START)
    assert house.run(VmStop(uuid)) == {"message": "VM vm1 is stopped"}
    assert house.runs_on(uuid) == []
    assert house.vm(uuid).state is VmState.STOP
    assert house.run(VmStop(uuid)) == {"message": "VM vm1 is stopped"}


def test_a_stop_that_the_node_does_not_carry_out_says_what_is_left(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").unavailable = True
    with pytest.raises(Failed, match="did not stop within 60 s") as caught:
        house.run(VmStop(uuid))
    assert caught.value.left == ("VM vm1 is still wanted stopped, and node n1 has not done so",)
    house.hypervisor("n1").unavailable = False
    house.lab.advance(4)
    assert house.runs_on(uuid) == []


def test_shutdown_waits_for_the_guest(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmShutdown(uuid))
    assert house.runs_on(uuid) == []
    assert house.vm(uuid).state is VmState.STOP


def test_the_power_of_a_guest_that_does_not_listen_is_cut_in_the_end(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").deaf.add(uuid)
    began = house.lab.clock.now()
    house.run(VmShutdown(uuid))
    assert house.runs_on(uuid) == []
    assert 30 <= house.lab.clock.now() - began <= 36


def test_a_cancelled_shutdown_leaves_the_machine_started(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").deaf.add(uuid)
    with pytest.raises(Cancelled) as caught:
        house.run(VmShutdown(uuid), watcher=Watcher(house, cancel_at="power off"))
    assert caught.value.left == ()
    assert house.vm(uuid).state is VmState.START
    house.lab.advance(60)
    assert house.runs_on(uuid) == ["n1"]


def test_shutdown_is_taken_up_where_a_dead_worker_left_it(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").deaf.add(uuid)
    deadline = house.lab.clock.now() + 10
    house.change(uuid, state=VmState.SHUTDOWN, shutdown_deadline=deadline)
    house.run(VmShutdown(uuid), attempt=2)
    assert house.vm(uuid).state is VmState.STOP
    assert house.lab.clock.now() - deadline < 6


def test_restart_runs_a_new_generation(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmRestart(uuid))
    assert house.runs_on(uuid) == ["n1"]
    assert house.hypervisor("n1").started == [uuid, uuid]
    assert house.status(uuid).generation == house.vm(uuid).generation == 1


def test_a_cancelled_restart_that_had_not_begun_is_withdrawn(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").unavailable = True
    with pytest.raises(Cancelled) as caught:
        house.run(VmRestart(uuid), watcher=Watcher(house, cancel_at="Restarting"))
    house.hypervisor("n1").unavailable = False
    house.lab.advance(10)
    assert caught.value.left == ()
    assert house.hypervisor("n1").started == [uuid]


def test_disable_shuts_down_first(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmDisable(uuid))
    assert house.vm(uuid).state is VmState.DISABLE
    assert house.hypervisor("n1").ended[uuid].reason == "shutdown"


def test_disable_by_force_cuts_the_power(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmDisable(uuid, force=True))
    assert house.vm(uuid).state is VmState.DISABLE
    assert house.hypervisor("n1").ended[uuid].reason == "destroyed"


@pytest.mark.parametrize("operation", [VmStart, VmStop, VmShutdown, VmRestart, VmDisable])
def test_a_machine_that_is_not_there(house: House, operation: type[VmStart]) -> None:
    with pytest.raises(NotFound, match="there is no VM 77"):
        house.run(operation("77"))


@pytest.mark.parametrize("operation", [VmStart, VmStop, VmShutdown, VmRestart, VmDisable])
@pytest.mark.parametrize("change", [{"migration": Migration("n2", "t")}, {"state": VmState.PROVISION}])
def test_a_machine_that_something_is_under_way_with(
    house: House, operation: type[VmStart], change: dict[str, object]
) -> None:
    uuid = house.define(1)
    house.change(uuid, **change)
    house.lab.cycle()
    before = house.picture()
    with pytest.raises(Conflict, match="VM vm1 is being"):
        house.run(operation(uuid))
    assert house.picture() == before


@pytest.mark.parametrize("operation", [VmStop, VmShutdown, VmRestart, VmDisable])
def test_only_its_own_node_can_end_a_machine(house: House, operation: type[VmStop]) -> None:
    uuid = house.define(1, VmState.START)
    house.stop_daemon("n1")
    before = house.picture()
    with pytest.raises(Conflict, match="node n1, whose daemon does not answer"):
        house.run(operation(uuid), node="n2")
    assert house.picture() == before


@pytest.mark.parametrize("state", [DomainState.FLUSH, DomainState.FLUSHED])
def test_start_on_a_flushed_node(house: House, state: DomainState) -> None:
    uuid = house.define(1)
    house.set_domain_state("n1", state)
    with pytest.raises(Conflict, match="node n1 is flushed"):
        house.run(VmStart(uuid))
    assert house.vm(uuid).state is VmState.STOP


def test_start_on_a_node_that_is_away(house: House) -> None:
    uuid = house.define(1)
    house.stop_daemon("n1")
    with pytest.raises(Conflict, match="node n1 is not running"):
        house.run(VmStart(uuid), node="n2")
    assert house.vm(uuid).state is VmState.STOP


def test_start_without_its_volume(house: House) -> None:
    uuid = house.define(1)
    house.state.transaction().delete(house.state.get(records.volume("vms", "disk1"))).commit()
    with pytest.raises(BadRequest, match="there is no volume vms/disk1"):
        house.run(VmStart(uuid))
    assert house.vm(uuid).state is VmState.STOP


@pytest.mark.parametrize("state", [VmState.STOP, VmState.DISABLE])
def test_restart_of_a_machine_that_is_not_started(house: House, state: VmState) -> None:
    uuid = house.define(1, state)
    with pytest.raises(Conflict, match="VM vm1 is not started"):
        house.run(VmRestart(uuid))
