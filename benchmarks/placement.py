"""How long the primary thinks about where machines go; no services are needed for that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from benchmarks.figures import Figure, Goal, from_samples
from benchmarks.synthetic import Statistics, SyntheticCluster
from pvc_core.model.node import Addresses, Alive, DaemonState, Node, NodeRole
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Vm, VmStatus
from pvc_core.rules.capacity import survives
from pvc_core.rules.recovery import plan

NODES, MACHINES = 100, 3_000
RUNS = 20


def figures() -> Iterator[Figure]:
    snapshot = _snapshot()
    dead = next(iter(snapshot.nodes))
    lost = [entry for entry in snapshot.vms.values() if entry.vm.node == dead]
    everything = list(snapshot.vms.values())
    yield _timed(f"places for the {len(lost)} machines of one of {NODES} nodes", 50, lambda: plan(snapshot, lost))
    yield _timed(f"places for {MACHINES:,} machines on {NODES} nodes", 1000, lambda: plan(snapshot, everything))
    yield _timed(f"N-1 of {NODES} nodes with {MACHINES:,} machines", 1000, lambda: survives(snapshot))


def _snapshot() -> ClusterSnapshot:
    """Every third machine avoids those with its own first tag."""
    cluster = SyntheticCluster(MACHINES, NODES)
    statistics = Statistics(cluster)
    machines = [_with_rule(vm) if index % 3 == 0 else vm for index, vm in enumerate(cluster.machines)]
    return ClusterSnapshot(
        nodes={name: _node(name, statistics) for name in cluster.nodes},
        vms={vm.uuid: VmEntry(vm, 0, VmStatus(RunState.RUNNING, vm.node, 1), 0) for vm in machines},
    )


def _with_rule(vm: Vm) -> Vm:
    return replace(vm, meta=replace(vm.meta, anti_affinity=(vm.tags[0].name,)))


def _node(name: str, statistics: Statistics) -> NodeEntry:
    alive = Alive("boot", 1, DaemonState.RUN, 1)
    return NodeEntry(Node(name, NodeRole.HYPERVISOR, Addresses()), 0, alive, statistics.of(name, 0))


def _timed(what: str, goal: float, work: Callable[[], object]) -> Figure:
    samples = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        samples.append(1000 * (time.perf_counter() - began))
    return from_samples(what, "ms", samples, Goal(goal))
