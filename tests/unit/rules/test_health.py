"""How well a node and the cluster are."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.node import (
    Addresses,
    Alive,
    DaemonState,
    DomainState,
    Node,
    NodeMemory,
    NodeRole,
    NodeStats,
    PluginResult,
)
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.storage import StorageStatus
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.rules.health import Health, cluster_health, node_health

BAD = PluginResult("disk", 0, 10, "the file system of / is 91% full")
GOOD = PluginResult("load", 0, 0, "load average 0.10 on 4 CPUs")
STATS = NodeStats(
    time=0.0,
    daemon_state=DaemonState.RUN,
    version="",
    arch="",
    os="",
    kernel="",
    cpu_count=4,
    load=0.1,
    cpu_utilization=0.0,
    memory=NodeMemory(1, 0, 1),
    plugins=(BAD, GOOD),
)
NODE = NodeEntry(Node("n1", NodeRole.COORDINATOR, Addresses()), 0, Alive("b", 1, DaemonState.RUN, 1), STATS)
STORAGE = StorageStatus(0.0, "HEALTH_OK", (), {"up,in": 3}, 1, 0, 1)


def test_a_nodes_health_is_what_its_plugins_leave_of_it() -> None:
    assert node_health(NODE) == Health(90, ("'disk': the file system of / is 91% full",))
    assert node_health(replace(NODE, stats=replace(STATS, plugins=(GOOD,)))) == Health(100)
    many = replace(STATS, plugins=tuple(replace(BAD, health_delta=50) for _ in range(3)))
    assert node_health(replace(NODE, stats=many)).health == 0
    assert node_health(replace(NODE, stats=None)) == Health(100)


def test_a_node_whose_daemon_does_not_run_has_no_health() -> None:
    assert node_health(replace(NODE, alive=None)) == Health(0, ("the node's daemon does not run (dead)",))


def test_a_cluster_without_faults_is_at_100() -> None:
    well = replace(NODE, stats=replace(STATS, plugins=(GOOD,)))
    assert cluster_health(ClusterSnapshot(nodes={"n1": well}, storage=STORAGE)) == Health(100)
    assert cluster_health(ClusterSnapshot()) == Health(100)


def test_each_fault_is_named_and_subtracted() -> None:
    flushed = replace(NODE, node=replace(NODE.node, domain_state=DomainState.FLUSHED))
    failed = VmEntry(Vm("u", "web", VmState.START, "n1"), 0, VmStatus(RunState.FAILED, "n1", 1, reason="no disk"), 0)
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
    dead = replace(NODE, alive=None)
    snapshot = ClusterSnapshot(nodes={"n1": dead, "n2": dead, "n3": dead})
    health = cluster_health(snapshot)
    assert health.health == 0
    assert health.messages[0] == "n1: the node's daemon does not run (dead)"


def test_osds_that_are_out_weigh_more_than_osds_that_are_down() -> None:
    out = ClusterSnapshot(storage=replace(STORAGE, osd_states={"up,out": 1, "up,in": 2}))
    assert cluster_health(out) == Health(50, ("storage: 1 OSD out",))
