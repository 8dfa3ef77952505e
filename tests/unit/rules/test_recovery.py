"""Where machines go that have lost their node."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.fence import FenceStep
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import RunState, Selector, VmState
from pvc_core.rules.recovery import plan, waiting
from tests.unit.rules.cluster import cluster, machine, node

DEAD = node("dead", daemon=None, fence=FenceStep.RECOVERING)


def places(snapshot: ClusterSnapshot) -> dict[str, str]:
    """Where each machine of the dead node goes, in the order of the plan."""
    lost = [entry for entry in snapshot.vms.values() if entry.vm.node == "dead"]
    return {place.uuid: place.node for place in plan(snapshot, lost)}


def lost(name: str, memory: int = 512, **fields: object) -> VmEntry:
    return machine(name, "dead", memory, run=RunState.STOPPED, **fields)  # type: ignore[arg-type]


def test_the_highest_priority_comes_first_then_the_largest_then_the_name() -> None:
    snapshot = cluster(DEAD, node("n1"), lost("b"), lost("a"), lost("large", 1024), lost("urgent", 256, priority=1))
    assert list(places(snapshot)) == ["urgent", "large", "a", "b"]


def test_what_does_not_fit_waits_with_the_reason_and_smaller_ones_still_go() -> None:
    snapshot = cluster(DEAD, node("n1", free=1000), lost("large", 2048), lost("small", 512))
    large, small = plan(snapshot, list(snapshot.vms.values()))
    assert (large.uuid, large.node) == ("large", "")
    assert large.reason == (
        "no node can take the machine: dead is not running (dead); n1 is short of memory (2048 MiB needed)"
    )
    assert (small.uuid, small.node, small.reason) == ("small", "n1", "")


def test_of_two_machines_for_one_place_the_higher_priority_gets_it() -> None:
    snapshot = cluster(DEAD, node("n1", free=600), lost("large", 600), lost("urgent", 512, priority=5))
    assert places(snapshot) == {"urgent": "n1", "large": ""}


def test_each_machine_counts_before_the_next_is_placed() -> None:
    for selector in Selector:
        machines = [lost(f"vm{n}", 1024, node_selector=selector) for n in range(6)]
        found = places(cluster(DEAD, node("n1", free=3100), node("n2", free=3100), *machines))
        assert sorted(found.values()) == ["n1"] * 3 + ["n2"] * 3, selector


def test_what_an_earlier_plan_has_promised_is_taken() -> None:
    snapshot = cluster(DEAD, node("n1", free=1100), lost("new", 1024), machine("old", "n1", 1024, run=RunState.STOPPED))
    assert places(snapshot) == {"new": ""}


def test_no_machine_goes_to_a_node_that_is_dead_fenced_or_not_ready() -> None:
    snapshot = cluster(
        DEAD,
        node("n1", daemon=None),
        node("n2", fence=FenceStep.RETURNED),
        node("n3", domains=DomainState.FLUSHED),
        node("n4", free=600),
        lost("vm1"),
    )
    assert places(snapshot) == {"vm1": "n4"}


def test_a_group_is_kept_together_and_rivals_apart() -> None:
    group = [lost(f"app{n}", tags=("app",), affinity=("app",)) for n in range(3)]
    rivals = [lost(f"db{n}", tags=("db",), anti_affinity=("db",)) for n in range(2)]
    found = places(cluster(DEAD, node("n1"), node("n2"), *group, *rivals))
    assert len({found[f"app{n}"] for n in range(3)}) == 1
    assert {found["db0"], found["db1"]} == {"n1", "n2"}


def test_limits_hold() -> None:
    snapshot = cluster(DEAD, node("n1"), node("n2", free=600), lost("vm1", node_limit=("dead", "n2")))
    assert places(snapshot) == {"vm1": "n2"}


def test_the_same_cluster_gives_the_same_plan_whatever_the_order_of_its_parts() -> None:
    machines = [lost(f"vm{n}", 256 * (1 + n % 3)) for n in range(9)]
    one = cluster(DEAD, node("n1"), node("n2"), *machines)
    other = cluster(node("n2"), node("n1"), *reversed(machines), DEAD)
    assert places(one) == places(other)


def test_those_that_wait_are_those_that_should_run() -> None:
    asked_anew = machine("anew", "n1", run=RunState.WAITING)
    asked_anew = replace(asked_anew, vm=replace(asked_anew.vm, generation=1))
    stranded = replace(asked_anew, vm=replace(asked_anew.vm, uuid="stranded", node="dead"))
    snapshot = cluster(
        DEAD,
        node("n1"),
        machine("waits", "dead", run=RunState.WAITING),
        machine("given up", "dead", run=RunState.FAILED),
        machine("stopped meanwhile", "dead", state=VmState.STOP),
        asked_anew,
        stranded,
    )
    assert {entry.vm.uuid for entry in waiting(snapshot)} == {"waits", "stranded"}
