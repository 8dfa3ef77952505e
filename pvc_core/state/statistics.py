"""What the nodes report of themselves, for those whose view leaves it out."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState


def with_stats(state: ClusterState, snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """The snapshot with what the living nodes last reported, read one by one. Raises Unavailable without a quorum."""
    nodes = dict(snapshot.nodes)
    for name, entry in snapshot.nodes.items():
        report = state.find(records.stats(name)) if entry.runs else None
        if report is not None:
            nodes[name] = replace(entry, stats=report.value)
    return replace(snapshot, nodes=nodes)
