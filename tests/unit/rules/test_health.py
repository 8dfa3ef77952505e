"""How well a node and the cluster are."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.fault import Fault, FaultStatus, Finding, raised
from pvc_core.model.node import (
    DomainState,
    PluginResult,
)
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.model.storage import StorageStatus
from pvc_core.model.vm import RunState, Vm, VmState
from pvc_core.rules.faults import plugins
from pvc_core.rules.health import Health, cluster_health, node_health
from tests.records import node, node_entry, node_stats, vm_entry

BAD = PluginResult("disk", 0, 10, "the file system of / is 91% full")
GOOD = PluginResult("load", 0, 0, "load average 0.10 on 4 CPUs")
STATS = node_stats(plugins=(BAD, GOOD))
NODE = node_entry(node("n1"), stats=STATS)
STORAGE = StorageStatus(0.0, "HEALTH_OK", (), {"up,in": 3}, 1, 0, 1)


def of(entry: NodeEntry, *faults: Fault) -> Health:
    return node_health(ClusterSnapshot(nodes={"n1": entry}, faults={fault.id: fault for fault in faults}), "n1")


def test_a_nodes_health_is_what_its_plugins_leave_of_it() -> None:
    assert of(NODE) == Health(90, ("'disk': the file system of / is 91% full",))
    assert of(replace(NODE, stats=replace(STATS, plugins=(GOOD,)))) == Health(100)
    many = replace(STATS, plugins=tuple(replace(BAD, name=f"disk{number}", health_delta=50) for number in range(3)))
    assert of(replace(NODE, stats=many)).health == 0
    assert of(replace(NODE, stats=None)) == Health(100)


def test_a_node_whose_daemon_does_not_run_has_no_health() -> None:
    assert of(replace(NODE, alive=None)) == Health(0, ("the node's daemon does not run (dead)",))


def test_a_finding_and_its_fault_count_once_and_not_at_all_when_acknowledged() -> None:
    fault = raised(next(plugins(NODE)), 1.0, 2.0)
    snapshot = ClusterSnapshot(nodes={"n1": NODE}, faults={fault.id: fault})
    assert of(NODE, fault).health == 90
    assert cluster_health(snapshot).health == 90
    seen = replace(fault, status=FaultStatus.ACK, acknowledged_at=3.0)
    assert of(NODE, seen) == Health(100)
    assert cluster_health(replace(snapshot, faults={seen.id: seen})) == Health(100)


def test_what_got_worse_than_was_acknowledged_counts_again() -> None:
    seen = replace(raised(next(plugins(NODE)), 1.0, 2.0), status=FaultStatus.ACK)
    worse = replace(NODE, stats=replace(STATS, plugins=(replace(BAD, health_delta=50),)))
    assert of(worse, seen).health == 50


def test_an_event_lowers_the_health_of_its_node_and_the_cluster_until_it_is_acknowledged() -> None:
    well = replace(NODE, stats=replace(STATS, plugins=(GOOD,)))
    event = raised(Finding("fenced:n1:1", "n1", 10, "n1: was fenced", event=True), 1.0, 1.0)
    elsewhere = replace(event, id="other", node="n2", message="n2: was fenced")
    assert of(well, event, elsewhere) == Health(90, ("was fenced",))
    snapshot = ClusterSnapshot(nodes={"n1": well}, faults={event.id: event, elsewhere.id: elsewhere})
    assert cluster_health(snapshot) == Health(80, ("n1: was fenced", "n2: was fenced"))
    seen = replace(event, status=FaultStatus.ACK)
    assert of(well, seen) == Health(100)


def test_a_fault_that_is_over_lowers_nothing() -> None:
    well = replace(NODE, stats=replace(STATS, plugins=(GOOD,)))
    assert of(well, replace(raised(next(plugins(NODE)), 1.0, 2.0), over=True)) == Health(100)


def test_a_cluster_without_faults_is_at_100() -> None:
    well = replace(NODE, stats=replace(STATS, plugins=(GOOD,)))
    assert cluster_health(ClusterSnapshot(nodes={"n1": well}, storage=STORAGE)) == Health(100)
    assert cluster_health(ClusterSnapshot()) == Health(100)


def test_each_fault_is_named_and_subtracted() -> None:
    flushed = replace(NODE, node=replace(NODE.node, domain_state=DomainState.FLUSHED))
    failed = vm_entry(Vm("u", "web", VmState.START, "n1"), RunState.FAILED, reason="no disk")
    snapshot = ClusterSnapshot(
        nodes={"n1": flushed},
        vms={"u": failed},
        storage=replace(
            STORAGE, health="HEALTH_WARN", health_messages=("1 osds down",), osd_states={"up,in": 2, "down,in": 1}
        ),
    )
    assert cluster_health(snapshot) == Health(
        50,
        (
            "n1: takes no machines (flushed)",
            "n1: plugin 'disk': the file system of / is 91% full",
            "VM web: no disk",
            "storage: 1 OSD down",
            "storage: HEALTH_WARN: 1 osds down",
        ),
    )


def test_the_clusters_health_does_not_fall_below_nothing() -> None:
    dead = {name: replace(NODE, node=replace(NODE.node, name=name), alive=None) for name in ("n1", "n2", "n3")}
    snapshot = ClusterSnapshot(nodes=dead)
    health = cluster_health(snapshot)
    assert health.health == 0
    assert health.messages[0] == "n1: the node's daemon does not run (dead)"


def test_osds_that_are_out_weigh_more_than_osds_that_are_down() -> None:
    out = ClusterSnapshot(storage=replace(STORAGE, osd_states={"up,out": 1, "up,in": 2}))
    assert cluster_health(out) == Health(50, ("storage: 1 OSD out",))
