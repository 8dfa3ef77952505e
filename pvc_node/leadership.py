"""Whether this node is primary, and the proof of it that each write of the primary carries."""

from __future__ import annotations

from pvc_core.errors import Stale
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction


class Leadership:
    """Safe to use from several threads."""

    def __init__(self, node: str, state: ClusterState) -> None:
        self.node = node
        self._state = state

    def is_primary(self, snapshot: ClusterSnapshot) -> bool:
        """As far as the snapshot knows: enough to begin with, never enough to write."""
        return snapshot.primary is not None and snapshot.primary.node == self.node

    def check(self, transaction: Transaction) -> None:
        """Let ``transaction`` fail when another node becomes primary before it is committed.

        Raises Stale when this node is not primary any more, Unavailable without a connection.
        """
        entry = self._state.find(records.PRIMARY)
        if entry is None or entry.value.node != self.node:
            raise Stale(records.PRIMARY.path, "says that another node is primary")
        transaction.check(entry)
