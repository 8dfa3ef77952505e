"""A machine runs on its own node, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.model.vm import Migration, RunState, VmState
from pvc_core.ports import Update
from pvc_core.state import records
from tests.unit.node.harness import LabCluster, LabNode, run_of

Messages = Callable[[str], list[str]]


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
