"""A daemon that was away, or whose libvirt or session was, neither loses a machine nor starts it twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pvc_core.model.node import DomainState
from pvc_core.model.vm import Migration, RunState, VmMeta, VmState
from pvc_core.state import records
from tests.unit.node.harness import LabCluster, LabNode, run_of

Messages = Callable[[str], list[str]]


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


def test_a_lost_answer_to_the_claim_starts_the_machine_once(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    uuid = lab.define(1)
    n1.store.lose_answer()
    lab.advance(6)
    assert run_of(lab, uuid) is RunState.RUNNING
    assert n1.hypervisor.started == [uuid]


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
