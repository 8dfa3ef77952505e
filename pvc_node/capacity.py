"""Whether the cluster could lose a node, which the primary works out for all."""

from __future__ import annotations

import logging

from pvc_core.errors import PvcError, Stale
from pvc_core.model.capacity import Capacity
from pvc_core.rules.capacity import survives
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.statistics import with_stats
from pvc_core.state.view import ClusterView
from pvc_node.leadership import Leadership
from pvc_node.trouble import Trouble

log = logging.getLogger(__name__)


class CapacityReporter:
    """Used by one thread."""

    def __init__(self, state: ClusterState, view: ClusterView, leadership: Leadership) -> None:
        self._state = state
        self._view = view
        self._leadership = leadership
        self._trouble = Trouble("capacity")

    def report(self) -> None:
        """Work it out once and write what has changed, if this node is primary."""
        snapshot = self._view.snapshot()
        if not self._leadership.is_primary(snapshot):
            self._trouble.end()
            return
        try:
            self._write(Capacity(survives(with_stats(self._state, snapshot))))
            self._trouble.end()
        except Stale as error:
            log.debug("the next look writes it: %s", error)
        except PvcError as error:
            self._trouble.begin(error)

    def _write(self, capacity: Capacity) -> None:
        entry = self._state.find(records.CAPACITY)
        if entry is not None and entry.value == capacity:
            return
        transaction = self._state.transaction()
        self._leadership.check(transaction)
        if entry is None:
            transaction.create(records.CAPACITY, capacity)
        else:
            transaction.update(entry, capacity)
        transaction.commit()
