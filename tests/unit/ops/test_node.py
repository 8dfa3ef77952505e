"""Flush, ready, maintenance."""

from __future__ import annotations

from typing import Any

import pytest

from pvc_core.errors import Cancelled, Conflict, Failed, NotFound, Refused
from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import DomainState
from pvc_core.model.vm import MigrationMethod, VmMeta, VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.cluster import ClusterMaintenance
from pvc_core.ops.node import NodeFlush, NodeReady
from pvc_core.ops.vm_migrate import VmMigrate
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher


def domain_state(house: House, name: str) -> DomainState:
    return house.state.get(records.node(name)).value.domain_state


def test_flush_moves_every_machine_away_and_ready_brings_it_back(house: House) -> None:
    running, off = house.define(1, VmState.START), house.define(2)
    elsewhere = house.define(3, VmState.START, node="n2")
    assert house.run(NodeFlush("n1")) == {"message": "Node n1 is flushed: 2 VMs were moved", "moved": 2}
    assert domain_state(house, "n1") is DomainState.FLUSHED
    assert house.runs_on(running) != ["n1"]
    assert house.vm(off).node != "n1"
    assert house.vm(running).last_node == house.vm(off).last_node == "n1"
    answer = house.run(NodeReady("n1"))
    assert answer == {"message": "Node n1 is ready: 2 VMs are back", "moved": 2, "remaining": []}
    assert domain_state(house, "n1") is DomainState.READY
    assert house.runs_on(running) == ["n1"]
    assert house.vm(off).node == "n1"
    assert house.vm(elsewhere).node == "n2"


def test_a_machine_that_was_migrated_here_is_moved_on(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmMigrate(uuid, "n2"))
    house.set_domain_state("n1", DomainState.FLUSHED)
    house.run(NodeFlush("n2"))
    assert (house.runs_on(uuid), house.vm(uuid).last_node) == (["n3"], "n1")


def test_what_cannot_move_is_listed_and_the_node_stays_closed(house: House) -> None:
    stays, goes = house.define(1, VmState.START, meta=VmMeta(node_limit=("n1",))), house.define(2, VmState.START)
    with pytest.raises(Failed, match="1 VMs could not be moved away from node n1") as caught:
        house.run(NodeFlush("n1"))
    assert len(caught.value.left) == 1
    assert caught.value.left[0].startswith("VM vm1 stays: no node can take the machine")
    assert domain_state(house, "n1") is DomainState.FLUSH
    assert house.runs_on(stays) == ["n1"]
    assert house.runs_on(goes) != ["n1"]


def test_a_machine_that_cannot_return_does_not_keep_the_node_closed(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(NodeFlush("n1"))
    host = house.runs_on(uuid)[0]
    house.change(uuid, meta=VmMeta(migration_method=MigrationMethod.LIVE))
    house.hypervisor(host).migrate_error = "a host device is attached"
    answer = house.run(NodeReady("n1"))
    assert answer["remaining"] == ["VM vm1: a host device is attached"]
    assert domain_state(house, "n1") is DomainState.READY


def test_flush_moves_the_important_ones_first_and_several_at_a_time(house: House) -> None:
    for number, priority in ((1, 0), (2, 9), (3, 5)):
        house.define(number, VmState.START, meta=VmMeta(priority=priority))
    seen: list[str] = []

    class Listener(Watcher):
        def wait_children(
            self, children: list[Operation], timeout: float, at_once: int, ended: Any
        ) -> list[tuple[Operation, str]]:
            seen.extend(house.vm(child.vm).name for child in children if isinstance(child, VmMigrate))
            assert at_once > 1
            return super().wait_children(children, timeout, at_once, ended)

    watcher = Listener(house)
    house.run(NodeFlush("n1"), watcher=watcher)
    assert seen == ["vm2", "vm3", "vm1"]
    assert watcher.messages[-3:] == [f"Moving 3 VMs to other nodes ({share} %)" for share in (33, 66, 100)]


def test_flush_counts_what_it_has_promised(house: House) -> None:
    machines = [house.define(number, VmState.START, memory=2000) for number in range(1, 5)]
    house.run(NodeFlush("n1"))
    assert sorted(house.runs_on(uuid)[0] for uuid in machines) == ["n2", "n2", "n3", "n3"]


def test_each_machine_of_a_flushed_node_moves_by_its_own_method(house: House) -> None:
    live = house.define(1, VmState.START, meta=VmMeta(migration_method=MigrationMethod.LIVE))
    shut = house.define(2, VmState.START, meta=VmMeta(migration_method=MigrationMethod.SHUTDOWN))
    starts = len(house.hypervisor("n2").started + house.hypervisor("n3").started)
    house.run(NodeFlush("n1"))
    started = house.hypervisor("n2").started + house.hypervisor("n3").started
    assert started[starts:] == [shut]
    assert house.runs_on(live) != ["n1"]


class Fateful(Watcher):
    """Something happens before the second machine moves."""

    event: Any = None

    def wait_children(self, children: list[Operation], *rest: Any) -> list[tuple[Operation, str]]:
        if self.event is None:
            return super().wait_children(children, *rest)
        failed = super().wait_children(children[:1], *rest)
        event, self.event = self.event, None
        event()
        return failed + super().wait_children(children[1:], *rest)


def test_a_node_that_dies_midway_is_replaced_by_another(house: House) -> None:
    house.set_stats("n2", free=8000)
    first, second = house.define(1, VmState.START), house.define(2, VmState.START)
    watcher = Fateful(house)
    watcher.event = lambda: house.stop_daemon("n2")
    assert house.run(NodeFlush("n1"), watcher=watcher)["moved"] == 2
    assert (house.runs_on(first), house.runs_on(second)) == (["n2"], ["n3"])


def test_no_machine_is_shut_down_for_a_node_that_has_died(house: House) -> None:
    house.set_stats("n2", free=8000)
    uuid = house.define(1, VmState.START)

    class Doomed(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            if message.startswith("Copying"):
                house.hypervisor("n2").unavailable = True
                house.stop_daemon("n2")

    with pytest.raises(Failed, match="no hypervisor answers at n2"):
        house.run(VmMigrate(uuid, "n2"), watcher=Doomed(house))
    assert house.runs_on(uuid) == ["n1"]
    assert house.hypervisor("n1").started == [uuid]


def test_a_flush_that_is_cancelled_midway_names_what_was_moved(house: House) -> None:
    first, second = house.define(1, VmState.START), house.define(2, VmState.START)
    watcher = Fateful(house)

    def cancel() -> None:
        raise Cancelled("cancelled on request")

    watcher.event = cancel
    with pytest.raises(Cancelled, match="cancelled on request; VM vm1 had been moved by then"):
        house.run(NodeFlush("n1"), watcher=watcher)
    assert domain_state(house, "n1") is DomainState.READY
    assert house.runs_on(first) != ["n1"]
    assert house.runs_on(second) == ["n1"]


def test_a_ready_that_is_cancelled_midway_names_what_was_moved(house: House) -> None:
    for number in (1, 2):
        house.define(number, VmState.START)
    house.run(NodeFlush("n1"))
    watcher = Fateful(house)

    def cancel() -> None:
        raise Cancelled("cancelled on request")

    watcher.event = cancel
    with pytest.raises(Cancelled, match="cancelled on request; VM vm1 had been moved by then"):
        house.run(NodeReady("n1"), watcher=watcher)
    assert domain_state(house, "n1") is DomainState.FLUSHED
    assert house.run(NodeReady("n1"))["message"] == "Node n1 is ready: 1 VMs are back"


def test_ready_is_taken_up_where_a_dead_worker_left_it(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(NodeFlush("n1"))
    house.set_domain_state("n1", DomainState.UNFLUSH)
    house.run(NodeReady("n1"), attempt=2)
    assert (house.runs_on(uuid), domain_state(house, "n1")) == (["n1"], DomainState.READY)


def test_ready_may_leave_the_machines_where_they_are(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(NodeFlush("n1"))
    host = house.runs_on(uuid)
    assert house.run(NodeReady("n1", stay=True)) == {"message": "Node n1 is ready", "moved": 0, "remaining": []}
    assert domain_state(house, "n1") is DomainState.READY
    assert (house.runs_on(uuid), house.vm(uuid).last_node) == (host, "n1")


def fence(house: House, name: str, step: FenceStep) -> None:
    house.state.put(records.fence(name), Fence(name, f"boot-{name}", (), step, 0.0, 0.0, "silent"))
    house.lab.cycle()


@pytest.mark.parametrize("stay", [False, True])
def test_a_node_that_is_fenced_while_it_is_made_ready_stays_closed(house: House, stay: bool) -> None:
    house.set_domain_state("n1", DomainState.FLUSHED)
    watcher = Watcher(house)
    watcher.report = lambda *_: fence(house, "n1", FenceStep.FENCING)  # type: ignore[method-assign]
    with pytest.raises(Refused, match="node n1 was fenced, and it has not been let in again yet"):
        house.run(NodeReady("n1", stay=stay), watcher=watcher)
    assert domain_state(house, "n1") is DomainState.FLUSHED


def test_a_cancelled_flush_opens_the_node_again(house: House) -> None:
    house.define(1, VmState.START)

    class Impatient(Watcher):
        def wait_children(self, *_: Any) -> list[tuple[Operation, str]]:
            raise Cancelled("cancelled on request")

    with pytest.raises(Cancelled):
        house.run(NodeFlush("n1"), watcher=Impatient(house))
    assert domain_state(house, "n1") is DomainState.READY


def test_flush_is_taken_up_where_a_dead_worker_left_it(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.set_domain_state("n1", DomainState.FLUSH)
    house.run(NodeFlush("n1"), attempt=2)
    assert domain_state(house, "n1") is DomainState.FLUSHED
    assert house.runs_on(uuid) != ["n1"]


def test_maintenance(house: House) -> None:
    house.run(ClusterMaintenance(True))
    assert house.view.snapshot().maintenance
    house.run(ClusterMaintenance(False))
    assert not house.view.snapshot().maintenance


@pytest.mark.parametrize(
    ("prepare", "operation", "error", "reason"),
    [
        (lambda house: None, NodeFlush("n9"), NotFound, "there is no node 'n9'"),
        (lambda house: house.stop_daemon("n2"), NodeFlush("n2"), Conflict, "dead.*: fencing starts its VMs on other"),
        (
            lambda house: fence(house, "n2", FenceStep.RETURNED),
            NodeReady("n2"),
            Conflict,
            "node n2 was fenced, and it has not been let in again yet .returned.",
        ),
        (lambda house: house.stop_daemon("n2"), NodeReady("n2"), Conflict, "node n2 is not running"),
    ],
)
def test_refusals(house: House, prepare: Any, operation: Operation, error: type[Refused], reason: str) -> None:
    house.define(1, VmState.START, node="n2")
    prepare(house)
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation)
    assert house.picture() == before


def test_flush_with_nowhere_to_go(house: House) -> None:
    house.define(1, VmState.START)
    house.stop_daemon("n2")
    house.set_domain_state("n3", DomainState.FLUSHED)
    with pytest.raises(Conflict, match="no other node is ready to take the VMs of node n1"):
        house.run(NodeFlush("n1"))
    assert domain_state(house, "n1") is DomainState.READY
