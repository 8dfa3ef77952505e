"""The one write that both the fencer and an administrator make: that a node is fenced for certain."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.model.fence import Fence, Method
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import FenceEntry
from pvc_core.rules import faults as rules
from pvc_core.rules import fencing
from pvc_core.state import faults, records
from pvc_core.state.cluster import ClusterState, Entry, Transaction


def confirm(
    state: ClusterState, transaction: Transaction, entry: FenceEntry, by: Method, now: float, *, empty: bool
) -> Fence:
    """Add to ``transaction`` that the fence is confirmed. ``empty``: the node gives its machines to others, and takes
    none until an administrator says that it is ready. Answers the fence as it is then. An entry with the version -1
    is one that has no record yet."""
    fence = fencing.confirmed(entry.fence, by, now)
    key = records.fence(fence.node)
    if entry.version < 0:
        transaction.create(key, fence)
    else:
        transaction.update(Entry(key, entry.fence, entry.version), fence)
    node = state.find(records.node(fence.node))
    if empty and node is not None and node.value.domain_state is not DomainState.FLUSHED:
        transaction.update(node, replace(node.value, domain_state=DomainState.FLUSHED))
    faults.add(transaction, state, rules.fenced(fence), now)
    return fence
