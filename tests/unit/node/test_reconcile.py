"""A daemon makes its machines what the cluster wants them to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import Primary
from pvc_core.model.vm import RunState, VmState
from pvc_core.ports import Locker
from pvc_core.state import records
from tests.unit.node.harness import LabCluster, LabNode, run_of

Messages = Callable[[str], list[str]]


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
