"""Flush, ready, primary, secondary, maintenance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.errors import Cancelled, Conflict, Failed, NotFound, Refused
from pvc_core.model.node import DomainState, NodeRole, Primary
from pvc_core.model.vm import MigrationMethod, VmMeta, VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.cluster import ClusterMaintenance
from pvc_core.ops.node import NodeFlush, NodePrimary, NodeReady, NodeSecondary
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


def test_a_cancelled_flush_opens_the_node_again(house: House) -> None:
    house.define(1, VmState.START)

    class Impatient(Watcher):
        def wait_children(self, children: list[Operation], timeout: float) -> list[tuple[Operation, str]]:
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


def test_primary_goes_where_it_is_sent(house: House) -> None:
    assert house.view.snapshot().primary == Primary("n1", 1)
    house.run(NodePrimary("n3"))
    assert house.view.snapshot().primary == Primary("n3", 2)
    house.run(NodePrimary("n3"))
    assert house.view.snapshot().primary == Primary("n3", 2)
    house.run(NodeSecondary("n3"))
    assert house.view.snapshot().primary == Primary("n1", 3)
    assert house.run(NodeSecondary("n3")) == {"message": "Node n3 is secondary already"}


def test_maintenance(house: House) -> None:
    house.run(ClusterMaintenance(True))
    assert house.view.snapshot().maintenance
    house.run(ClusterMaintenance(False))
    assert not house.view.snapshot().maintenance


def make_hypervisor(house: House, name: str) -> None:
    node = house.state.get(records.node(name)).value
    house.state.put(records.node(name), replace(node, role=NodeRole.HYPERVISOR))


@pytest.mark.parametrize(
    ("prepare", "operation", "error", "reason"),
    [
        (lambda house: None, NodeFlush("n9"), NotFound, "there is no node 'n9'"),
        (lambda house: house.stop_daemon("n2"), NodeFlush("n2"), Conflict, "node n2 is not running"),
        (lambda house: house.stop_daemon("n2"), NodeReady("n2"), Conflict, "node n2 is not running"),
        (lambda house: house.stop_daemon("n2"), NodePrimary("n2"), Conflict, "node n2 is not running"),
        (lambda house: make_hypervisor(house, "n2"), NodePrimary("n2"), Conflict, "node n2 is no coordinator"),
        (lambda house: make_hypervisor(house, "n2"), NodeSecondary("n2"), Conflict, "node n2 is no coordinator"),
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


def test_the_last_coordinator_stays_primary(house: House) -> None:
    house.stop_daemon("n2")
    house.stop_daemon("n3")
    with pytest.raises(Conflict, match="no other coordinator runs"):
        house.run(NodeSecondary("n1"))
