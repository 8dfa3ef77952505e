"""The floating address is on the primary, and on one node at a time whatever happens to the primary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pvc_core.fakes.network import FakeNetwork
from pvc_core.model.node import Addresses, Primary
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_node.floating import Floating
from pvc_node.leadership import Leadership
from tests.unit.node.harness import FLOATING, LabCluster, LabNode, config, own_address

STEP = 0.125  # seconds; a sum of such is exact
KERNEL = 1.0  # seconds that the kernel may take to see that a lifetime is over
SESSION = config("n1").zookeeper.session_timeout
Messages = Callable[[str], list[str]]


@pytest.fixture
def n2(lab: LabCluster, n1: LabNode) -> LabNode:
    """n1 is primary and n2 is not."""
    node = lab.start_node("n2")
    lab.cycle()
    assert holders(lab) == ["n1"]
    return node


def holders(lab: LabCluster) -> list[str]:
    return [name for name, node in lab.nodes.items() if node.network.held([FLOATING])]


def look(lab: LabCluster, *nodes: LabNode, seconds: float = 0.0) -> None:
    """Let time pass in small steps, with a look of these nodes at the end of each."""
    for _ in range(max(1, round(seconds / STEP))):
        lab.clock.advance(STEP if seconds else 0.0)
        for node in nodes:
            node.floating.cycle(node.view.snapshot())


def make_primary(lab: LabCluster, name: str) -> None:
    entry = lab.state.get(records.PRIMARY)
    lab.state.transaction().update(entry, Primary(name, entry.value.epoch + 1)).commit()


def test_the_address_goes_where_the_primary_goes_and_the_record_says_when_it_is_there(
    lab: LabCluster, n1: LabNode, n2: LabNode, messages: Messages
) -> None:
    assert lab.state.get(records.PRIMARY).value == Primary("n1", 1, ready=True)
    make_primary(lab, "n2")
    look(lab, n1)
    assert (holders(lab), lab.state.get(records.PRIMARY).value.ready) == ([], False)
    look(lab, n2)
    assert (holders(lab), lab.state.get(records.PRIMARY).value.ready) == (["n2"], True)
    assert n2.network.announced == [FLOATING]
    assert messages("floating addresses: ") == [
        f"floating addresses: {FLOATING} => given up: another node is primary",
        f"floating addresses: {FLOATING} => taken: this node is primary",
    ]


def test_the_neighbours_are_told_several_times_and_ever_less_often(lab: LabCluster, n1: LabNode) -> None:
    lab.cycle()
    heard = []
    for step in range(720):
        if len(n1.network.announced) > len(heard):
            heard.append(step * STEP)
        look(lab, n1, seconds=STEP)
        assert holders(lab) == ["n1"]
    assert heard == [0, 1, 3, 7, 15, 31, 61]


def test_it_is_gone_before_the_session_of_a_node_without_a_connection_can_have_ended(
    lab: LabCluster, n1: LabNode, n2: LabNode
) -> None:
    n1.store.suspend()
    look(lab, n1, seconds=SESSION - n1.floating.interval - KERNEL)
    assert holders(lab) == []
    n1.store.expire()
    n2.reconciler.cycle()
    look(lab, n2)
    assert holders(lab) == ["n2"]


def test_it_goes_from_a_node_whose_daemon_hangs(lab: LabCluster, n1: LabNode, n2: LabNode) -> None:
    look(lab, n2, seconds=SESSION - n1.floating.interval - KERNEL)
    assert holders(lab) == []


def test_a_short_loss_of_the_connection_costs_nothing(
    lab: LabCluster, n1: LabNode, n2: LabNode, messages: Messages
) -> None:
    n1.store.suspend()
    for _ in range(20):
        look(lab, n1, seconds=STEP)
        assert holders(lab) == ["n1"]
    n1.store.resume()
    look(lab, n1, seconds=2.5)
    assert holders(lab) == ["n1"]
    assert messages("=> taken") == messages("=> given up") == []


def test_a_node_that_wakes_with_an_old_picture_takes_nothing(lab: LabCluster, n1: LabNode, n2: LabNode) -> None:
    old = n1.view.snapshot()
    n1.store.suspend()
    n1.store.expire()
    lab.clock.advance(SESSION)
    n2.reconciler.cycle()
    look(lab, n2)
    n1.store.resume()
    n1.floating.cycle(old)
    assert holders(lab) == ["n2"]
    assert n1.network.announced == [FLOATING]
    assert n1.floating.trouble == ""


@pytest.mark.parametrize(("delay", "held"), [(2.5, ["n1"]), (3.5, [])])
def test_an_answer_counts_from_when_it_was_asked_for(
    lab: LabCluster, n1: LabNode, n2: LabNode, delay: float, held: list[str]
) -> None:
    real = n1.store.settle

    def slow(timeout: float) -> None:
        lab.clock.advance(delay)
        real(timeout)

    n1.store.settle = slow  # type: ignore[method-assign]
    lab.clock.advance(n1.floating.interval)
    look(lab, n1)
    assert holders(lab) == held
    lab.clock.advance(1.0)
    assert holders(lab) == []
    assert bool(n1.floating.trouble) is (not held)


def test_what_a_killed_daemon_left_is_given_up_by_the_next_where_another_node_is_primary(
    lab: LabCluster, n1: LabNode
) -> None:
    make = FakeNetwork((own_address("n2"),), lab.clock)
    make.hold(FLOATING, own_address("n2"), 60)
    lab.cycle()
    state = ClusterState(lab.servers.connect())
    floating = Floating(config("n2"), state, Leadership("n2", state), n1.presence, make, lab.clock)
    floating.cycle(n1.view.snapshot())
    assert make.held([FLOATING]) == set()


def test_a_daemon_that_stops_gives_it_up(lab: LabCluster, n1: LabNode, n2: LabNode) -> None:
    n1.floating.give_up("the daemon stops")
    assert holders(lab) == []


def test_an_address_without_a_place_is_named_and_keeps_the_primary_from_being_ready(
    lab: LabCluster, n1: LabNode, messages: Messages
) -> None:
    base = config("n1")
    wrong = replace(
        base,
        node=replace(base.node, addresses=Addresses(own_address("n1"), storage="203.0.113.1/24")),
        floating_addresses=Addresses(FLOATING, storage="203.0.113.250/24"),
    )
    state = ClusterState(n1.store)
    n1.floating = Floating(wrong, state, Leadership("n1", state), n1.presence, n1.network, lab.clock)
    lab.advance(10)
    assert holders(lab) == ["n1"]
    assert "203.0.113.1/24" in n1.floating.trouble
    assert not lab.state.get(records.PRIMARY).value.ready
    assert len(messages("floating addresses: well => failing")) == 1
    n1.network._addresses += ("203.0.113.1/24",)
    lab.advance(4)
    assert n1.floating.trouble == ""
    assert lab.state.get(records.PRIMARY).value.ready


def test_a_cluster_without_floating_addresses_has_a_ready_primary(lab: LabCluster, n1: LabNode) -> None:
    state = ClusterState(n1.store)
    none = replace(config("n1"), floating_addresses=Addresses())
    n1.floating = Floating(none, state, Leadership("n1", state), n1.presence, n1.network, lab.clock)
    lab.cycle()
    assert lab.state.get(records.PRIMARY).value == Primary("n1", 1, ready=True)
