"""Writing faults about what has just happened; those about what goes on are the primary's (pvc_node/faults.py)."""

from __future__ import annotations

from pvc_core.model.fault import Finding, raised
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction


def add(transaction: Transaction, state: ClusterState, finding: Finding, now: float) -> None:
    """Add the fault of an event to the transaction that makes it happen. One that is there already stays as it is."""
    key = records.fault(finding.id)
    if state.find(key) is None:
        transaction.create(key, raised(finding, now, now))
