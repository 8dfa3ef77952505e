"""The primary's word on whether the cluster could lose a node."""

from __future__ import annotations

import pytest

from pvc_core.model.capacity import Capacity, Shortfall
from pvc_core.model.node import DomainStats, Primary
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import VmSize
from pvc_core.state import records
from pvc_core.state.view import ClusterView
from pvc_node.capacity import CapacityReporter
from pvc_node.leadership import Leadership
from tests.records import node_stats
from tests.unit.node.harness import LabCluster, uuid


@pytest.fixture
def lab() -> LabCluster:
    """Two nodes, and a machine of 1024 MiB on the first; the second has as much free."""
    lab = LabCluster()
    for name in ("n1", "n2"):
        lab.start_node(name)
    lab.define(1, size=VmSize(1024, 1))
    lab.cycle()
    report(lab, "n1", 0, uuid(1))
    report(lab, "n2", 1024)
    return lab


def report(lab: LabCluster, name: str, free: int, *running: str) -> None:
    domains = {identity: DomainStats() for identity in running}
    lab.state.put(records.stats(name), node_stats(free, domains=domains))


def reporter(lab: LabCluster, name: str = "n1") -> CapacityReporter:
    node = lab.nodes[name]
    return CapacityReporter(lab.state, node.view, Leadership(name, lab.state))


def written(lab: LabCluster) -> Capacity | None:
    entry = lab.state.find(records.CAPACITY)
    return None if entry is None else entry.value


def test_the_primary_writes_what_would_have_no_place(lab: LabCluster) -> None:
    reporter(lab).report()
    assert written(lab) == Capacity()
    report(lab, "n2", 1023)
    reporter(lab).report()
    assert written(lab) == Capacity((Shortfall("n1", ("vm1",)),))


def test_what_has_not_changed_is_not_written_again(lab: LabCluster) -> None:
    for _ in range(2):
        reporter(lab).report()
    assert lab.state.get(records.CAPACITY).version == 0


def test_no_other_node_writes_it(lab: LabCluster) -> None:
    reporter(lab, "n2").report()
    assert written(lab) is None


def test_a_primary_that_has_not_heard_of_its_successor_writes_nothing(lab: LabCluster) -> None:
    class Late(ClusterView):
        before = lab.nodes["n1"].view.snapshot()

        def snapshot(self) -> ClusterSnapshot:
            return self.before

    lab.state.put(records.PRIMARY, Primary("n2", 9))
    CapacityReporter(lab.state, Late(lab.client), Leadership("n1", lab.state)).report()
    assert written(lab) is None
