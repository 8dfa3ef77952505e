"""Which node takes a machine, and why another does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.fence import FenceStep
from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import Migration, RunState, Selector, Vm, VmState
from pvc_core.rules.placement import check_node, choose_node
from tests.unit.rules.cluster import cluster, machine, node

CHOICE = cluster(
    node("n1", free=3000, total=4096, load=0.5),
    node("n2", free=2000, total=8192, load=2.0),
    node("n3", free=1000, total=8192, load=1.0),
    machine("1", "n1", 512, 4),
    machine("2", "n1", 512, 4),
    machine("3", "n2", 4096, 1, state=VmState.STOP),
    machine("4", "n2", 512, 1),
    machine("5", "n3", 512, 2),
    machine("6", "n3", 512, 2, state=VmState.STOP),
    machine("7", "n3", 512, 2),
)


def choose(snapshot: ClusterSnapshot, memory: int = 256, **fields: object) -> str:
    vm = machine("new", "", memory, **fields).vm  # type: ignore[arg-type]
    return choose_node(snapshot, vm, memory)


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (Selector.NONE, "n1"),
        (Selector.MEM, "n1"),
        (Selector.MEMPROV, "n3"),
        (Selector.VCPUS, "n2"),
        (Selector.LOAD, "n1"),
        (Selector.VMS, "n2"),
    ],
)
def test_the_selector_decides(selector: Selector, chosen: str) -> None:
    assert choose(CHOICE, node_selector=selector) == chosen


def test_equal_nodes_are_taken_in_the_order_of_names() -> None:
    assert choose(cluster(node("b"), node("a"), node("c"))) == "a"


def test_the_best_node_is_passed_over_when_excluded_or_outside_the_limit() -> None:
    assert choose_node(CHOICE, machine("new", "").vm, 256, {"n1"}) == "n2"
    assert choose(CHOICE, node_limit=("n3", "n2")) == "n2"


def test_too_little_memory_rules_a_node_out_whatever_the_selector_says() -> None:
    assert choose(CHOICE, 2500, node_selector=Selector.VMS) == "n1"


def test_memory_that_was_promised_is_not_free() -> None:
    """A machine that was given to a node and does not run there yet needs its memory in a moment."""
    given = machine("given", "n1", 2048, run=RunState.STOPPED)
    assert choose(cluster(node("n1", free=4096), node("n2", free=3000), given)) == "n2"
    assert choose(cluster(node("n1", free=4096), node("n2", free=3000), machine("running", "n1", 2048))) == "n1"


@pytest.mark.parametrize("run", [RunState.FAILED, RunState.WAITING])
def test_nothing_is_promised_to_a_machine_that_nobody_starts(run: RunState) -> None:
    assert choose(cluster(node("n1", free=4096), node("n2", free=3000), machine("failed", "n1", 2048, run=run))) == "n1"


def test_a_machine_on_its_way_is_promised_the_memory_of_the_other_node() -> None:
    moving = machine("moving", "n3", 2048)
    moving = replace(moving, vm=replace(moving.vm, migration=Migration("n1", "task")))
    assert choose(cluster(node("n1", free=4096), node("n2", free=3000), node("n3", free=0), moving)) == "n2"


def test_a_machine_is_promised_nothing_against_itself() -> None:
    snapshot = cluster(node("n1", free=600), machine("1", "n1", 512, run=RunState.STOPPED))
    check_node(snapshot, "n1", snapshot.vms["1"].vm, 512)


TAGGED = (
    node("n1", free=1000),
    node("n2", free=3000),
    node("n3", free=2000),
)


def test_a_machine_goes_where_those_are_with_which_it_wants_to_be() -> None:
    snapshot = cluster(*TAGGED, machine("db", "n1", tags=("db",)))
    assert choose(snapshot, affinity=("db",)) == "n1"
    assert choose(snapshot, affinity=("nobody",)) == "n2"


def test_a_machine_goes_where_it_is_awaited() -> None:
    snapshot = cluster(*TAGGED, machine("web", "n1", affinity=("db",)))
    assert choose(snapshot, tags=("db",)) == "n1"
    served = cluster(*TAGGED, machine("web", "n1", affinity=("db",)), machine("db", "n1", tags=("db",)))
    assert choose(served, tags=("db",)) == "n2"


def test_a_machine_avoids_those_that_it_does_not_want_and_those_that_do_not_want_it() -> None:
    assert choose(cluster(*TAGGED, machine("db", "n2", tags=("db",))), anti_affinity=("db",)) == "n3"
    assert choose(cluster(*TAGGED, machine("web", "n2", anti_affinity=("db",))), tags=("db",)) == "n3"


def test_machines_that_avoid_their_own_kind_are_spread_evenly() -> None:
    kind = {"tags": ("web",), "anti_affinity": ("web",)}
    taken = [machine(str(n), f"n{1 + n % 3}", **kind) for n in range(5)]  # type: ignore[arg-type]
    assert choose(cluster(*TAGGED, *taken), **kind) == "n3"


def test_a_preference_keeps_no_machine_down() -> None:
    everywhere = [machine(f"db{n}", f"n{n}", tags=("db",)) for n in (1, 2, 3)]
    assert choose(cluster(*TAGGED, *everywhere), anti_affinity=("db",)) == "n2"
    assert choose(cluster(*TAGGED, machine("db", "n1", tags=("db",))), 1500, affinity=("db",)) == "n2"


def test_the_refusal_says_of_each_node_why_it_is_out() -> None:
    snapshot = cluster(
        node("n1"),
        node("n2", daemon=None),
        node("n3", daemon=DaemonState.INIT),
        node("n4", domains=DomainState.FLUSHED),
        node("n5", free=100),
        node("n6"),
        node("n7", reported=False),
        node("n8", fence=FenceStep.RETURNED),
        node("n9", total=400),
        node("n10", free=200),
    )
    limit = tuple(name for name in snapshot.nodes if name != "n6")
    vm = machine("new", "", 512, node_limit=limit).vm
    with pytest.raises(Conflict) as refused:
        choose_node(snapshot, vm, 512, exclude={"n1"})
    assert str(refused.value) == (
        "no node can take the machine: n2 is not running (dead); n3 is not running (init); n4 is not ready (flushed); "
        f"n5, n10 are short of memory (512 MiB needed); n6 is not in the machine's node limit ({', '.join(limit)}); "
        "n7 is new and has not reported its memory yet; n8 is fenced and not let in again yet; "
        "n9 is too small (400 MiB in all, 512 MiB needed)"
    )
    with pytest.raises(Conflict, match="there are no other nodes"):
        choose(cluster())


def test_a_named_node_is_checked_by_the_same_rules() -> None:
    snapshot = cluster(node("n1"), node("n2", domains=DomainState.UNFLUSH))
    vm: Vm = machine("new", "", 5000).vm
    check_node(snapshot, "n1", vm, 512)
    with pytest.raises(NotFound, match="no node 'n9'; there are n1, n2"):
        check_node(snapshot, "n9", vm, 512)
    with pytest.raises(Conflict, match="node n2 cannot take the machine: it is not ready"):
        check_node(snapshot, "n2", vm, 512)
    check_node(snapshot, "n2", vm, 512, accepted={DomainState.READY, DomainState.UNFLUSH})
    with pytest.raises(Conflict, match=r"it is short of memory \(4096 MiB free and not promised, 5000 MiB needed\)"):
        check_node(snapshot, "n1", vm, 5000)


def test_a_machine_that_stays_off_needs_no_free_memory_and_yet_a_node_large_enough() -> None:
    assert choose_node(cluster(node("n1", free=-100)), machine("new", "", 512).vm, 0) == "n1"
    with pytest.raises(Conflict, match="too small"):
        choose_node(cluster(node("n1")), machine("new", "", 9000).vm, 0)
