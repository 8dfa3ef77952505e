"""Primary and secondary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pvc_core.errors import Cancelled, Conflict, Failed, NotFound, Refused
from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import DomainState, NodeRole, Primary
from pvc_core.ops.base import Operation
from pvc_core.ops.primary import NodePrimary, NodeSecondary
from pvc_core.state import records
from tests.unit.node.harness import FLOATING
from tests.unit.ops.house import House, Watcher


def primary(house: House) -> Primary:
    return house.state.get(records.PRIMARY).value


def holders(house: House) -> list[str]:
    return [name for name, node in house.lab.nodes.items() if node.network.held([FLOATING])]


def lose_place(house: House, name: str) -> None:
    """The node has no interface for the floating address."""
    house.lab.nodes[name].network._addresses = ()


def test_primary_goes_where_it_is_sent_and_the_address_with_it(house: House) -> None:
    assert primary(house) == Primary("n1", 1, ready=True)
    assert house.run(NodePrimary("n3")) == {"message": "Node n3 is primary"}
    assert (primary(house), holders(house)) == (Primary("n3", 2, ready=True), ["n3"])
    house.run(NodePrimary("n3"))
    assert primary(house) == Primary("n3", 2, ready=True)
    assert house.run(NodeSecondary("n3")) == {"message": "Node n3 is secondary, and node n1 primary"}
    assert (primary(house), holders(house)) == (Primary("n1", 3, ready=True), ["n1"])
    assert house.run(NodeSecondary("n3")) == {"message": "Node n3 is secondary already"}


def test_a_node_that_is_being_emptied_is_not_chosen_where_there_is_another(house: House) -> None:
    house.set_domain_state("n2", DomainState.FLUSHED)
    house.run(NodeSecondary("n1"))
    assert primary(house).node == "n3"


def test_it_has_not_succeeded_before_the_address_is_there(house: House) -> None:
    """Else who waited for it would find nobody at the address. The role goes back to where the address can be."""
    lose_place(house, "n2")
    with pytest.raises(Failed, match="node n2 has not taken the floating addresses within 10 s") as caught:
        house.run(NodePrimary("n2"))
    assert caught.value.left == ()
    house.lab.cycle()
    assert (primary(house), holders(house)) == (Primary("n1", 3, ready=True), ["n1"])


def test_a_cancelled_move_goes_back(house: House) -> None:
    lose_place(house, "n2")
    with pytest.raises(Cancelled):
        house.run(NodePrimary("n2"), watcher=Watcher(house, cancel_at="Waiting for node n2"))
    assert primary(house).node == "n1"


def test_a_new_primary_that_dies_at_once_leaves_the_role_to_whoever_takes_it(house: House) -> None:
    class Fatal(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            if message.startswith("Waiting"):
                house.lab.nodes.pop("n3").store.close()

    lose_place(house, "n3")
    with pytest.raises(Failed, match="node n3 was made primary and has lost that again"):
        house.run(NodePrimary("n3"), watcher=Fatal(house))
    assert primary(house) == Primary("n1", 3, ready=True)


def make_hypervisor(house: House, name: str) -> None:
    node = house.state.get(records.node(name)).value
    house.state.put(records.node(name), replace(node, role=NodeRole.HYPERVISOR))


def fence(house: House, *names: str) -> None:
    for name in names:
        house.state.put(records.fence(name), Fence(name, "", (), FenceStep.RETURNED, 0.0, 0.0, "silent"))


def stop(house: House, *names: str) -> None:
    for name in names:
        house.stop_daemon(name)


@pytest.mark.parametrize(
    ("prepare", "operation", "error", "reason"),
    [
        (lambda house: None, NodePrimary("n9"), NotFound, "there is no node 'n9'"),
        (lambda house: stop(house, "n2"), NodePrimary("n2"), Conflict, "node n2 is not running .dead."),
        (lambda house: make_hypervisor(house, "n2"), NodePrimary("n2"), Conflict, "node n2 is no coordinator"),
        (lambda house: fence(house, "n2"), NodePrimary("n2"), Conflict, "node n2 has a fence .returned."),
        (lambda house: make_hypervisor(house, "n2"), NodeSecondary("n2"), Conflict, "node n2 is no coordinator"),
        (lambda house: stop(house, "n2", "n3"), NodeSecondary("n1"), Conflict, "no other coordinator runs"),
        (lambda house: fence(house, "n2", "n3"), NodeSecondary("n1"), Conflict, "node n2 has a fence .returned."),
    ],
)
def test_refusals(
    house: House, prepare: Callable[[House], Any], operation: Operation, error: type[Refused], reason: str
) -> None:
    prepare(house)
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation)
    assert house.picture() == before
