"""A daemon makes its machines what the cluster wants them to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pvc_core.errors import DriverUnavailable
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import DomainState, Primary
from pvc_core.model.vm import DomainRun, Migration, RunState, VmMeta, VmState
from pvc_core.ports import Locker, Update
from pvc_core.state import records
from pvc_core.state.records import Lock
from tests.unit.node.harness import LabCluster, LabNode

Messages = Callable[[str], list[str]]


def run_of(lab: LabCluster, uuid: str) -> RunState:
    return lab.status(uuid).run


def test_what_should_run_is_started_and_recorded(lab: LabCluster, n1: LabNode, messages: Messages) -> None:
    uuid = lab.define(1)
    lab.cycle()
    assert n1.hypervisor.started == [uuid]
    assert lab.status(uuid).run is RunState.RUNNING
    assert lab.status(uuid).incarnation == 1
    assert messages("vm vm1") == [f"vm vm1 ({uuid}): unknown => running: its state is start"]


def test_a_cluster_at_rest_is_left_alone(lab: LabCluster, n1: LabNode) -> None:
    for number in range(5):
        lab.define(number)
    lab.cycle()
    commits = lab.servers.commits
    lab.advance(60)
    assert lab.servers.commits == commits
    assert len(n1.hypervisor.started) == 5


def test_a_killed_machine_is_started_again_at_once_and_then_with_back_off(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    lab.advance(100)
    moments = []
    for _ in range(4):
        n1.hypervisor.crash(uuid)
        crashed = lab.clock.monotonic()
        while uuid not in n1.hypervisor.guests:
            lab.cycle()
            if uuid not in n1.hypervisor.guests:
                lab.clock.advance(0.5)
        moments.append(lab.clock.monotonic() - crashed)
    assert moments == [0.0, 2.0, 4.0, 8.0]
    assert lab.status(uuid).crashes == 4


def test_a_machine_that_crashes_too_often_fails_with_the_reason_until_it_is_asked_for_anew(
    lab: LabCluster, n1: LabNode
) -> None:
    uuid = lab.define(1)
    lab.cycle()
    for _ in range(5):
        n1.hypervisor.crash(uuid)
        lab.cycle()
        lab.advance(10)
    assert run_of(lab, uuid) is RunState.FAILED
    assert "given up after 5" in lab.status(uuid).reason
    lab.advance(600)
    assert uuid not in n1.hypervisor.guests
    lab.change(uuid, generation=1)
    lab.cycle()
    assert run_of(lab, uuid) is RunState.RUNNING
    assert (lab.status(uuid).crashes, lab.status(uuid).generation) == (0, 1)


def test_a_machine_that_does_not_start_fails_with_libvirts_words(lab: LabCluster, n1: LabNode) -> None:
    n1.hypervisor.start_error = "no such disk"
    uuid = lab.define(1)
    lab.cycle()
    assert run_of(lab, uuid) is RunState.STOPPED
    assert (lab.status(uuid).reason, lab.status(uuid).crashes) == ("no such disk", 1)
    lab.advance(60)
    assert run_of(lab, uuid) is RunState.FAILED
    assert lab.status(uuid).reason.startswith("no such disk")
    assert n1.hypervisor.started == []


def test_a_start_that_succeeds_in_the_end_has_no_reason_left(lab: LabCluster, n1: LabNode) -> None:
    n1.hypervisor.start_error = "no such disk"
    uuid = lab.define(1)
    lab.cycle()
    n1.hypervisor.start_error = ""
    lab.advance(4)
    assert (run_of(lab, uuid), lab.status(uuid).reason) == (RunState.RUNNING, "")


def test_a_guest_that_powers_itself_off_is_stopped(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    n1.hypervisor.power_off(uuid)
    lab.advance(60)
    assert lab.vm(uuid).state is VmState.STOP
    assert run_of(lab, uuid) is RunState.STOPPED
    assert n1.hypervisor.started == [uuid]


def test_shutdown_asks_the_guest_and_ends_in_stop(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    lab.change(uuid, state=VmState.SHUTDOWN, shutdown_deadline=lab.clock.now() + 30)
    lab.cycle()
    assert n1.hypervisor.ended[uuid].reason == "shutdown"
    assert lab.vm(uuid).state is VmState.STOP
    assert run_of(lab, uuid) is RunState.STOPPED


def test_a_deaf_guest_is_asked_again_and_powered_off_at_the_deadline(
    lab: LabCluster, n1: LabNode, messages: Messages
) -> None:
    uuid = lab.define(1)
    lab.cycle()
    n1.hypervisor.deaf.add(uuid)
    lab.change(uuid, state=VmState.SHUTDOWN, shutdown_deadline=lab.clock.now() + 30)
    lab.advance(28)
    assert uuid in n1.hypervisor.guests
    assert len(messages("running => shutdown")) == 2
    lab.advance(4)
    assert n1.hypervisor.ended[uuid].reason == "destroyed"
    assert lab.vm(uuid).state is VmState.STOP
    assert len(messages("it did not power off in time")) == 1


@pytest.mark.parametrize("state", [VmState.STOP, VmState.DISABLE])
def test_stop_and_disable_cut_the_power(lab: LabCluster, n1: LabNode, state: VmState) -> None:
    uuid = lab.define(1)
    lab.cycle()
    lab.change(uuid, state=state)
    lab.cycle()
    assert n1.hypervisor.ended[uuid].reason == "destroyed"
    assert run_of(lab, uuid) is RunState.STOPPED
    lab.change(uuid, state=VmState.START)
    lab.cycle()
    assert run_of(lab, uuid) is RunState.RUNNING


def test_a_restart_runs_the_new_generation_with_the_new_xml(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    xml = lab.state.get(records.vm_xml(uuid))
    entry = lab.state.get(records.vm(uuid))
    lab.state.transaction().update(xml, xml.value.replace("<vcpu>1</vcpu>", "<vcpu>4</vcpu>")).commit()
    lab.change(uuid, generation=1)
    lab.cycle(6)
    assert "<vcpu>4</vcpu>" in n1.hypervisor.guests[uuid].xml
    assert (lab.status(uuid).generation, lab.status(uuid).crashes) == (1, 0)
    assert entry.value.state is lab.vm(uuid).state is VmState.START


def test_a_restart_does_not_wait_for_ever_for_a_deaf_guest(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    n1.hypervisor.deaf.add(uuid)
    lab.change(uuid, generation=1)
    lab.advance(28)
    assert lab.status(uuid).generation == 0
    lab.advance(6)
    assert lab.status(uuid).generation == 1
    assert n1.hypervisor.started == [uuid, uuid]


def test_a_migrating_machine_is_left_alone_by_its_source(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    lab.change(uuid, migration=Migration("n2", "task"), state=VmState.STOP, generation=3)
    commits = lab.servers.commits
    lab.advance(30)
    assert n1.hypervisor.guests.keys() == {uuid}
    n1.hypervisor.crash(uuid)
    lab.advance(30)
    assert n1.hypervisor.started == [uuid]
    assert lab.servers.commits == commits


def test_the_target_adopts_a_machine_once_it_runs_there(lab: LabCluster, n1: LabNode) -> None:
    n2 = lab.start_node("n2")
    uuid = lab.define(1)
    lab.cycle()
    since = lab.status(uuid).since
    lab.advance(20)
    lab.change(uuid, migration=Migration("n2", "task", "n1"))
    lab.cycle()
    n1.hypervisor.migrate(uuid, "n2", 300, lambda _: None, lambda: False)
    lab.cycle()
    vm, status = lab.vm(uuid), lab.status(uuid)
    assert (vm.node, vm.last_node, vm.migration, vm.state) == ("n2", "n1", None, VmState.START)
    assert (status.node, status.run, status.since) == ("n2", RunState.RUNNING, since)
    lab.advance(30)
    assert lab.rack.running(uuid) == ["n2"]
    assert (n1.hypervisor.started, n2.hypervisor.started) == ([uuid], [])


def test_an_incoming_machine_is_not_adopted_while_it_is_paused(lab: LabCluster, n1: LabNode) -> None:
    n2 = lab.start_node("n2")
    uuid = lab.define(1)
    lab.cycle()
    lab.change(uuid, migration=Migration("n2", "task"))
    n1.hypervisor.migrate(uuid, "n2", 300, lambda _: None, lambda: False)
    n2.hypervisor.stall(uuid, "migration")
    lab.advance(10)
    assert lab.vm(uuid).node == "n1"
    assert uuid in n2.hypervisor.guests


def test_a_stray_copy_is_destroyed_and_the_machines_own_node_keeps_it(
    lab: LabCluster, n1: LabNode, messages: Messages
) -> None:
    n2 = lab.start_node("n2")
    uuid = lab.define(1)
    lab.cycle()
    n2.hypervisor.start(lab.state.get(records.vm_xml(uuid)).value)
    lab.cycle()
    assert lab.rack.running(uuid) == ["n1"]
    assert messages("it belongs to node n1") == [f"vm vm1 ({uuid}): running => destroyed: it belongs to node n1"]
    assert n1.hypervisor.started == [uuid]


def test_a_domain_that_the_cluster_does_not_know_is_destroyed(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    entries = [lab.state.get(key(uuid)) for key in (records.vm_xml, records.vm_status, records.vm)]
    transaction = lab.state.transaction()
    for entry in entries:
        transaction.delete(entry)
    transaction.commit()
    lab.cycle()
    assert n1.hypervisor.guests == {}


def test_a_domain_whose_record_cannot_be_read_is_not_destroyed(lab: LabCluster, n1: LabNode) -> None:
    """A record of a newer version hides the machine from the picture, yet it is a machine of the cluster."""
    uuid = lab.define(1)
    lab.cycle()
    n1.store.close()
    entry = lab.state.get(records.vm(uuid))
    raw = entry.key.encode(entry.value).replace(b'"start"', b'"hibernate"')
    lab.client.commit([Update(entry.key.path, raw, entry.version)])
    again = lab.start_node("n1")
    lab.advance(20)
    assert uuid in again.hypervisor.guests


def test_a_machine_given_to_another_node_is_started_there_only_once_it_is_off_here(
    lab: LabCluster, n1: LabNode
) -> None:
    n2 = lab.start_node("n2")
    uuid = lab.define(1)
    lab.cycle()
    lab.change(uuid, node="n2")
    n2.reconciler.cycle()
    n2.reconciler.cycle()
    assert lab.rack.running(uuid) == ["n1"]
    lab.cycle()
    assert lab.rack.running(uuid) == ["n2"]
    assert lab.status(uuid).node == "n2"
    assert n1.hypervisor.guests == {}


def test_a_decision_from_an_old_picture_is_not_carried_out(lab: LabCluster, n1: LabNode) -> None:
    n1.workers.inline = False
    uuid = lab.define(1)
    lab.cycle()
    assert len(n1.workers.jobs) == 1
    lab.change(uuid, state=VmState.STOP)
    n1.workers.run()
    assert n1.hypervisor.started == []
    lab.cycle()
    n1.workers.run()
    assert run_of(lab, uuid) is RunState.STOPPED


def test_one_action_a_machine_at_a_time_however_slow_it_is(lab: LabCluster, n1: LabNode) -> None:
    n1.workers.inline = False
    lab.define(1)
    lab.advance(60)
    assert len(n1.workers.jobs) == 1


def test_a_machine_that_is_stopped_while_it_starts_ends_stopped(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    real = n1.hypervisor.start

    def slow(xml: str) -> object:
        lab.change(uuid, state=VmState.STOP)
        n1.reconciler.cycle()
        assert run_of(lab, uuid) is RunState.STARTING
        return real(xml)

    n1.hypervisor.start = slow
    lab.cycle()
    assert n1.hypervisor.ended[uuid].reason == "destroyed"
    assert run_of(lab, uuid) is RunState.STOPPED


def test_a_failed_start_is_decided_anew_after_libvirt_was_away(lab: LabCluster, n1: LabNode) -> None:
    n1.hypervisor.unavailable = True
    uuid = lab.define(1)
    lab.advance(10)
    n1.hypervisor.unavailable = False
    lab.advance(4)
    assert (run_of(lab, uuid), lab.status(uuid).crashes) == (RunState.RUNNING, 0)


def test_loss_of_libvirt_is_no_loss_of_machines(lab: LabCluster, n1: LabNode, messages: Messages) -> None:
    uuids = [lab.define(number) for number in range(3)]
    lab.cycle()
    n1.hypervisor.unavailable = True
    commits = lab.servers.commits
    lab.change(uuids[0], state=VmState.STOP)
    lab.advance(60)
    assert lab.servers.commits == commits + 1
    assert len(messages("libvirt: well => failing")) == 1
    n1.hypervisor.unavailable = False
    lab.advance(2)
    assert n1.hypervisor.started == uuids
    assert [run_of(lab, uuid) for uuid in uuids] == [RunState.STOPPED, RunState.RUNNING, RunState.RUNNING]
    assert len(messages("libvirt: failing => well")) == 1


def test_nothing_is_decided_without_a_session_and_machines_run_on(
    lab: LabCluster, n1: LabNode, messages: Messages
) -> None:
    uuids = [lab.define(number) for number in range(2)]
    lab.cycle()
    n1.store.suspend()
    lab.change(uuids[0], state=VmState.STOP)
    lab.define(7)
    n1.hypervisor.crash(uuids[1])
    lab.advance(60)
    assert list(n1.hypervisor.guests) == [uuids[0]]
    assert len(messages("there is no connection: machines run on")) == 1
    n1.store.resume()
    lab.cycle()
    assert run_of(lab, uuids[0]) is RunState.STOPPED
    assert n1.hypervisor.started == [*uuids, uuids[1], lab.vm("00000000-0000-0000-0000-000000000007").uuid]


def test_after_a_lost_session_the_picture_is_made_current_before_anything_is_destroyed(
    lab: LabCluster, n1: LabNode
) -> None:
    n2 = lab.start_node("n2")
    uuid = lab.define(1, node="n2")
    lab.cycle()
    n1.store.suspend()
    n1.store.expire()
    lab.change(uuid, migration=Migration("n1", "task", "n2"))
    n2.hypervisor.migrate(uuid, "n1", 300, lambda _: None, lambda: False)
    lab.advance(10)
    n1.store.resume()
    lab.cycle()
    assert lab.rack.running(uuid) == ["n1"]
    assert lab.vm(uuid).node == "n1"


def test_a_new_daemon_adopts_what_runs(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    n1.store.close()
    again = lab.start_node("n1")
    lab.cycle()
    assert again.hypervisor.started == [uuid]
    assert lab.status(uuid).incarnation == 2
    assert run_of(lab, uuid) is RunState.RUNNING


def test_a_booted_node_starts_its_machines_without_counting_crashes(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    lab.cycle()
    n1.store.close()
    n1.hypervisor.lose_power()
    lab.start_node("n1", boot="second")
    lab.cycle()
    assert (run_of(lab, uuid), lab.status(uuid).crashes) == (RunState.RUNNING, 0)


def test_a_daemon_that_died_while_it_started_a_machine_starts_it_once(lab: LabCluster, n1: LabNode) -> None:
    uuid = lab.define(1)
    n1.hypervisor.start = lambda xml: (_ for _ in ()).throw(SystemExit)
    with pytest.raises(SystemExit):
        lab.cycle()
    assert run_of(lab, uuid) is RunState.STARTING
    del n1.hypervisor.start
    n1.hypervisor.start(lab.state.get(records.vm_xml(uuid)).value)
    n1.store.close()
    again = lab.start_node("n1")
    lab.cycle()
    assert run_of(lab, uuid) is RunState.RUNNING
    assert again.hypervisor.started == [uuid]


AUTOSTART = VmMeta(node_autostart=True)


def test_autostart_happens_when_the_node_is_booted(lab: LabCluster) -> None:
    uuid = lab.define(1, VmState.STOP, meta=AUTOSTART)
    lab.start_node("n1")
    lab.cycle()
    assert (lab.vm(uuid).state, lab.vm(uuid).meta.node_autostart) == (VmState.START, False)
    assert run_of(lab, uuid) is RunState.RUNNING


def test_autostart_does_not_happen_while_the_node_is_just_ready(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    uuid = lab.define(1, VmState.STOP, meta=AUTOSTART)
    lab.advance(20)
    assert lab.vm(uuid).state is VmState.STOP
    n1.store.close()
    lab.start_node("n1")
    lab.advance(20)
    assert lab.vm(uuid).state is VmState.STOP


def test_autostart_happens_when_the_node_becomes_ready(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    uuid = lab.define(1, VmState.STOP, meta=AUTOSTART)
    set_domain_state(lab, "n1", DomainState.FLUSHED)
    lab.advance(4)
    assert lab.vm(uuid).state is VmState.STOP
    set_domain_state(lab, "n1", DomainState.READY)
    lab.cycle()
    assert run_of(lab, uuid) is RunState.RUNNING


def set_domain_state(lab: LabCluster, name: str, state: DomainState) -> None:
    entry = lab.state.get(records.node(name))
    lab.state.transaction().update(entry, replace(entry.value, domain_state=state)).commit()


def test_the_first_living_node_becomes_primary_and_the_next_when_it_dies(
    lab: LabCluster, n1: LabNode, messages: Messages
) -> None:
    lab.start_node("n2")
    lab.cycle()
    assert lab.state.get(records.PRIMARY).value == Primary("n1", 1, ready=True)
    n1.store.close()
    del lab.nodes["n1"]
    lab.cycle()
    assert lab.state.get(records.PRIMARY).value == Primary("n2", 2, ready=True)
    assert messages("primary: ") == [
        "primary: none => n1 (epoch 1): the cluster has no primary",
        "primary: n1 (epoch 1) => ready",
        "primary: n1 => n2 (epoch 2): n1 does not run",
        "primary: n2 (epoch 2) => ready",
    ]


def test_bridges_follow_the_networks(lab: LabCluster, n1: LabNode) -> None:
    n1.network.mtus = {99: None}
    for vni, kind in ((100, NetworkType.BRIDGED), (101, NetworkType.BRIDGED), (5000, NetworkType.MANAGED)):
        lab.state.put(records.network(vni), Network(vni, "", kind, 9000 if vni == 100 else None))
    lab.cycle()
    assert n1.network.mtus == {100: 9000, 101: None}
    lab.state.transaction().delete(lab.state.get(records.network(101))).commit()
    lab.cycle()
    assert n1.network.mtus == {100: 9000}


def test_bridges_are_made_good_when_the_network_answers_again(lab: LabCluster, n1: LabNode, messages: Messages) -> None:
    n1.network.unavailable = True
    lab.state.put(records.network(100), Network(100, "", NetworkType.BRIDGED))
    uuid = lab.define(1)
    lab.advance(10)
    assert len(messages("bridges: well => failing")) == 1
    assert run_of(lab, uuid) is RunState.RUNNING
    n1.network.unavailable = False
    lab.advance(4)
    assert n1.network.mtus == {100: None}


def test_a_lost_answer_to_the_claim_starts_the_machine_once(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    uuid = lab.define(1)
    n1.store.lose_answer()
    lab.advance(6)
    assert run_of(lab, uuid) is RunState.RUNNING
    assert n1.hypervisor.started == [uuid]


def test_many_machines_of_other_nodes_cost_no_look_at_the_hypervisor(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    looks: list[int] = []
    real = n1.hypervisor.domains
    n1.hypervisor.domains = lambda: looks.append(1) or real()
    for number in range(20):
        lab.define(100 + number, node="n9")
        n1.reconciler.cycle()
    assert looks == []


def test_what_a_dead_process_holds_of_its_disks_is_taken_from_it_before_the_next_start(lab: LabCluster) -> None:
    n1 = lab.start_node("n1")
    lab.blocks.create_pool("vms", 8, 1, 1, "default")
    lab.blocks.create("vms", "vm1", 4096)
    image = lab.blocks.image("vms", "vm1")
    image.lockers = [Locker("client.1", "10.0.0.9")]
    uuid = lab.define(1)
    lab.cycle()
    assert len(image.lockers) == 1  # nothing says that its holder is dead
    n1.hypervisor.crash(uuid)
    lab.cycle()
    assert lab.status(uuid).run is RunState.RUNNING
    assert image.lockers == []


def test_a_storage_that_does_not_answer_keeps_no_machine_from_starting_again(lab: LabCluster) -> None:
    n1 = lab.start_node("n1")
    uuid = lab.define(1)
    lab.cycle()
    lab.blocks.unavailable = True
    n1.hypervisor.crash(uuid)
    lab.cycle()
    assert lab.status(uuid).run is RunState.RUNNING


def hold(lab: LabCluster, n1: LabNode, task: str) -> str:
    """A machine that a task, which has its lock, made stand still."""
    uuid = lab.define(1)
    lab.cycle()
    lab.state.transaction().create(records.lock(f"vm:{uuid}"), Lock(task)).commit()
    lab.change(uuid, held=task)
    n1.hypervisor.agents.add(uuid)
    n1.hypervisor.freeze(uuid)
    n1.hypervisor.pause(uuid)
    return uuid


def test_a_machine_that_a_dead_task_left_standing_goes_on(lab: LabCluster, n1: LabNode, messages: Messages) -> None:
    uuid = hold(lab, n1, "task-1")
    lab.advance(10)
    assert n1.hypervisor.domains()[uuid].run is DomainRun.PAUSED
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.cycle()
    assert n1.hypervisor.domains()[uuid].run is DomainRun.RUNNING
    assert not n1.hypervisor.frozen
    assert lab.state.get(records.vm(uuid)).value.held == ""
    assert len(messages("held => released")) == 1
    assert n1.hypervisor.started == [uuid]


def test_a_hold_that_is_seen_before_its_lock_is_left_alone(lab: LabCluster, n1: LabNode) -> None:
    uuid = hold(lab, n1, "task-1")
    n1.workers.inline = False
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.cycle()  # decides to let it go on
    lab.state.transaction().create(records.lock(f"vm:{uuid}"), Lock("task-1")).commit()
    n1.workers.run()
    assert n1.hypervisor.domains()[uuid].run is DomainRun.PAUSED
    assert lab.state.get(records.vm(uuid)).value.held == "task-1"


def test_a_machine_that_could_not_be_let_go_on_is_tried_again(lab: LabCluster, n1: LabNode) -> None:
    uuid = hold(lab, n1, "task-1")
    real = n1.hypervisor.release
    n1.hypervisor.release = refuse
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.advance(4)
    assert lab.state.get(records.vm(uuid)).value.held == "task-1"
    n1.hypervisor.release = real
    lab.advance(4)
    assert lab.state.get(records.vm(uuid)).value.held == ""
    assert n1.hypervisor.domains()[uuid].run is DomainRun.RUNNING


def refuse(uuid: str) -> None:
    raise DriverUnavailable("the agent does not answer")
