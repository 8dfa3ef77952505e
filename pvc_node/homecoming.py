"""How a node that was fenced comes back into the cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from pvc_core.errors import PvcError, Stale
from pvc_core.model.fence import FenceStep
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry
from pvc_core.ports import BlockStore, Clock, Hypervisor
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Entry
from pvc_node.presence import Presence
from pvc_node.trouble import Trouble
from pvc_node.workers import Workers

log = logging.getLogger(__name__)


class Homecoming:
    """Once nothing of what this node ran is left, it takes its own addresses off Ceph's list and says that it is back.

    Nobody else does that: this node starts no machine while it has a fence, so that even if this daemon is stopped in
    the middle, and the node fenced a second time, there is nothing here that a late readmission could let write.
    """

    def __init__(
        self,
        node: str,
        state: ClusterState,
        presence: Presence,
        hypervisor: Hypervisor,
        blocks: Callable[[], BlockStore] | None,
        clock: Clock,
        workers: Workers,
    ) -> None:
        """``blocks`` is None where nodes are never shut out of the storage."""
        self._key = records.fence(node)
        self._state = state
        self._presence = presence
        self._hypervisor = hypervisor
        self._blocks = blocks
        self._clock = clock
        self._workers = workers
        self._under_way = False
        self._trouble = Trouble("return")

    def look(self, snapshot: ClusterSnapshot, *, idle: bool) -> None:
        """Begin, if this node is fenced and ``idle``: nothing is under way that could still bring a machine up."""
        entry = snapshot.fences.get(self._key.path.rpartition("/")[2])
        if entry is not None and entry.fence.step is FenceStep.FENCED and idle and not self._under_way:
            self._under_way = True
            self._workers.submit(lambda: self._come_back(entry))

    def _come_back(self, entry: FenceEntry) -> None:
        try:
            if any(domain.alive for domain in self._hypervisor.domains().values()):
                return
            fence = Entry(self._key, entry.fence, entry.version)
            transaction = self._state.transaction().check(fence)
            self._presence.check(transaction)
            transaction.commit()
            if self._blocks is not None:
                self._blocks().readmit(fence.value.addresses)
            transaction = self._state.transaction()
            self._presence.check(transaction)
            back = replace(fence.value, step=FenceStep.RETURNED, since=self._clock.now())
            transaction.update(fence, back).commit()
            log.warning("fence %s: fenced => returned: this node runs none of its former machines", fence.value.node)
            self._trouble.end()
        except Stale as error:
            log.debug("another look is needed: %s", error)
        except PvcError as error:
            self._trouble.begin(error)
        finally:
            self._under_way = False
