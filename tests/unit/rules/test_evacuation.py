"""What leaves a node that is emptied, in which order, and where it goes."""

from __future__ import annotations

from collections import Counter

from pvc_core.model.node import DomainState
from pvc_core.model.vm import VmState
from pvc_core.rules import evacuation
from pvc_core.rules.recovery import Placement
from tests.unit.rules.cluster import cluster, machine, node

FLUSHED = node("n1", domains=DomainState.FLUSH)


def test_ten_machines_do_not_all_choose_the_same_node() -> None:
    machines = [machine(f"vm{n}", "n1", 400) for n in range(10)]
    places = evacuation.leave(cluster(FLUSHED, node("n2", free=2050), node("n3", free=2000), *machines), "n1", ())
    assert Counter(place.node for place in places) == {"n2": 5, "n3": 5}


def test_the_important_ones_go_first_and_what_is_off_goes_too() -> None:
    machines = [machine("a", "n1"), machine("off", "n1", 4096, state=VmState.STOP), machine("top", "n1", priority=9)]
    places = evacuation.leave(cluster(FLUSHED, node("n2", free=2000), *machines, machine("x", "n2")), "n1", ())
    assert [(place.uuid, place.node) for place in places] == [("top", "n2"), ("off", "n2"), ("a", "n2")]


def test_what_cannot_go_has_the_reason_and_what_stays_is_left_out() -> None:
    machines = [machine("a", "n1", node_limit=("n1",)), machine("b", "n1"), machine("c", "n1")]
    a, c = evacuation.leave(cluster(FLUSHED, node("n2"), *machines), "n1", {"b"})
    assert a == Placement("a", "", "no node can take the machine: n2 is not in the machine's node limit (n1)")
    assert c == Placement("c", "n2")


def test_a_place_is_spoilt_when_its_node_cannot_take_the_machine_any_more() -> None:
    a = machine("a", "n1", 512)
    place = Placement("a", "n2")
    assert not evacuation.is_spoilt(cluster(FLUSHED, node("n2"), a), place)
    assert evacuation.is_spoilt(cluster(FLUSHED, node("n2", daemon=None), a), place)
    assert evacuation.is_spoilt(cluster(FLUSHED, node("n2", free=100), a), place)
    assert evacuation.is_spoilt(cluster(FLUSHED, a), place)
    assert not evacuation.is_spoilt(cluster(FLUSHED, node("n2", daemon=None)), place)


def test_those_return_that_have_left_for_a_while() -> None:
    away = [machine("a", "n2", last_node="n1"), machine("b", "n2", last_node="n1", priority=1), machine("c", "n2")]
    assert [entry.vm.name for entry in evacuation.returning(cluster(node("n1"), node("n2"), *away), "n1")] == ["b", "a"]
