"""Whether the cluster could lose any one of its nodes."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.capacity import Capacity, Shortfall
from pvc_core.model.node import DomainState
from pvc_core.model.vm import RunState, VmState
from pvc_core.rules.capacity import survives
from pvc_core.rules.faults import conditions
from tests.unit.rules.cluster import cluster, machine, node


def test_a_cluster_with_room_survives() -> None:
    machines = [machine(f"vm{n}", f"n{1 + n % 3}", 1024) for n in range(9)]
    assert survives(cluster(node("n1"), node("n2"), node("n3"), *machines)) == ()


def test_what_would_have_no_place_is_named_for_each_node() -> None:
    machines = [machine(name, "n1", 1024) for name in ("c", "a", "b")]
    snapshot = cluster(node("n1", free=0), node("n2", free=1100), node("n3", free=0), *machines, machine("d", "n3", 10))
    assert survives(snapshot) == (Shortfall("n1", ("b", "c")),)


def test_each_loss_is_tried_by_itself() -> None:
    """The room of the third node is enough for either of the others, though not for both."""
    snapshot = cluster(
        node("n1", free=0),
        node("n2", free=0),
        node("n3", free=1024),
        machine("a", "n1", 1024),
        machine("b", "n2", 1024),
    )
    assert survives(snapshot) == ()


def test_only_what_should_run_needs_a_place() -> None:
    off = machine("off", "n1", 4096, state=VmState.STOP)
    assert survives(cluster(node("n1"), node("n2", free=10), off)) == ()


def test_a_machine_that_is_bound_to_its_node_is_no_matter_of_room() -> None:
    assert survives(cluster(node("n1"), node("n2"), machine("bound", "n1", node_limit=("n1",)))) == ()
    bound = machine("bound", "n1", node_limit=("n1", "n2"))
    assert survives(cluster(node("n1"), node("n2", free=0), bound)) == (Shortfall("n1", ("bound",)),)


def test_nodes_that_take_nothing_are_no_room_and_nodes_that_are_gone_are_not_lost_again() -> None:
    snapshot = cluster(
        node("n1"),
        node("n2", domains=DomainState.FLUSHED),
        node("n3", daemon=None),
        machine("a", "n1"),
        machine("b", "n3", run=RunState.WAITING),
    )
    assert survives(snapshot) == (Shortfall("n1", ("a",)),)


def test_a_cluster_that_could_not_lose_a_node_is_at_fault() -> None:
    snapshot = cluster(node("n1"), node("n2"))
    assert conditions(replace(snapshot, capacity=Capacity())) == ()
    short = Capacity((Shortfall("n1", ("a",)), Shortfall("n2", ("b", "c"))))
    (found,) = conditions(replace(snapshot, capacity=short))
    assert (found.name, found.node, found.health_delta) == ("n-1:cluster", "", 10)
    assert found.message == "no room for the loss of n1, n2: 2 of the VMs on n2 would have no place"
