"""Which node takes a machine, and why another does not."""

from __future__ import annotations

import pytest

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.node import (
    Addresses,
    Alive,
    DaemonState,
    DomainState,
    Node,
    NodeMemory,
    NodeRole,
    NodeStats,
)
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.vm import Selector, Vm, VmMeta, VmState
from pvc_core.rules.placement import check_node, choose_node

ANY = VmMeta()


def node(
    name: str,
    *,
    free: int = 4096,
    total: int = 8192,
    load: float = 1.0,
    daemon: DaemonState | None = DaemonState.RUN,
    domains: DomainState = DomainState.READY,
    reported: bool = True,
) -> NodeEntry:
    stats = NodeStats(
        time=0.0,
        daemon_state=DaemonState.RUN,
        version="",
        arch="",
        os="",
        kernel="",
        cpu_count=4,
        load=load,
        cpu_utilization=0.0,
        memory=NodeMemory(total, total - free, free),
    )
    alive = None if daemon is None else Alive("boot", 1, daemon, 1)
    record = Node(name, NodeRole.COORDINATOR, Addresses(), domains)
    return NodeEntry(record, 0, alive, stats if reported else None)


def machine(uuid: str, on: str, *, memory: int, vcpu: int, state: VmState = VmState.START) -> tuple[VmEntry, str]:
    xml = f"""<domain type="kvm"><name>{uuid}</name><uuid>00000000-0000-0000-0000-{int(uuid):012}</uuid>
        <memory unit="MiB">{memory}</memory><vcpu>{vcpu}</vcpu><os><type>hvm</type></os><devices/></domain>"""
    return VmEntry(Vm(uuid, uuid, state, on), 0), xml


def cluster(*nodes: NodeEntry, machines: tuple[tuple[VmEntry, str], ...] = ()) -> ClusterSnapshot:
    return ClusterSnapshot(
        nodes={entry.node.name: entry for entry in nodes},
        vms={entry.vm.uuid: entry for entry, _ in machines},
        xmls={entry.vm.uuid: xml for entry, xml in machines},
    )


CHOICE = cluster(
    node("n1", free=3000, total=4096, load=0.5),
    node("n2", free=2000, total=8192, load=2.0),
    node("n3", free=1000, total=8192, load=1.0),
    machines=(
        machine("1", "n1", memory=512, vcpu=4),
        machine("2", "n1", memory=512, vcpu=4),
        machine("3", "n2", memory=4096, vcpu=1, state=VmState.STOP),
        machine("4", "n2", memory=512, vcpu=1),
        machine("5", "n3", memory=512, vcpu=2),
        machine("6", "n3", memory=512, vcpu=2, state=VmState.STOP),
        machine("7", "n3", memory=512, vcpu=2),
    ),
)


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
    assert choose_node(CHOICE, VmMeta(node_selector=selector), 256) == chosen


def test_equal_nodes_are_taken_in_the_order_of_names() -> None:
    assert choose_node(cluster(node("b"), node("a"), node("c")), ANY, 256) == "a"


def test_the_best_node_is_passed_over_when_excluded_or_outside_the_limit() -> None:
    assert choose_node(CHOICE, ANY, 256, {"n1"}) == "n2"
    assert choose_node(CHOICE, VmMeta(node_limit=("n3", "n2")), 256) == "n2"


def test_too_little_memory_rules_a_node_out_whatever_the_selector_says() -> None:
    assert choose_node(CHOICE, VmMeta(node_selector=Selector.VMS), 2500) == "n1"


def test_the_refusal_says_of_each_node_why_it_is_out() -> None:
    snapshot = cluster(
        node("n1"),
        node("n2", daemon=None),
        node("n3", daemon=DaemonState.INIT),
        node("n4", domains=DomainState.FLUSHED),
        node("n5", free=100),
        node("n6"),
        node("n7", reported=False),
    )
    meta = VmMeta(node_limit=("n1", "n2", "n3", "n4", "n5", "n7"))
    with pytest.raises(Conflict) as refused:
        choose_node(snapshot, meta, 512, exclude={"n1"})
    assert str(refused.value) == (
        "no node can take the machine: n1 is excluded, n2 is not running (dead), n3 is not running (init), "
        "n4 is not ready (flushed), n5 is short of memory (100 MiB free, 512 MiB needed), "
        "n6 is not in the machine's node limit (n1, n2, n3, n4, n5, n7), n7 is new and has not reported its memory yet"
    )
    with pytest.raises(Conflict, match="there are no nodes"):
        choose_node(cluster(), ANY, 1)


def test_a_named_node_is_checked_by_the_same_rules() -> None:
    snapshot = cluster(node("n1"), node("n2", domains=DomainState.UNFLUSH))
    check_node(snapshot, "n1", ANY, 512)
    with pytest.raises(NotFound, match="no node 'n9'; there are n1, n2"):
        check_node(snapshot, "n9", ANY, 512)
    with pytest.raises(Conflict, match="node n2 cannot take the machine: it is not ready"):
        check_node(snapshot, "n2", ANY, 512)
    check_node(snapshot, "n2", ANY, 512, accepted={DomainState.READY, DomainState.UNFLUSH})
    with pytest.raises(Conflict, match="short of memory"):
        check_node(snapshot, "n1", ANY, 5000)
