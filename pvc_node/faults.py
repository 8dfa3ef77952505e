"""The faults of the cluster, which the primary keeps for all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from pvc_core.errors import PvcError, Stale
from pvc_core.model.fault import Fault
from pvc_core.model.node import NodeStats
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ports import Clock
from pvc_core.rules import faults
from pvc_core.rules.faults import Sighting
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction
from pvc_core.state.view import ClusterView
from pvc_node.leadership import Leadership
from pvc_node.trouble import Trouble

log = logging.getLogger(__name__)

STATS_INTERVAL = 10.0  # seconds between two readings of what the nodes report, which the daemon's view has not


class FaultKeeper:
    """Raises, renews and drops faults as the cluster's state has it. Used by one thread."""

    def __init__(
        self,
        state: ClusterState,
        view: ClusterView,
        leadership: Leadership,
        clock: Clock,
        mute: Callable[[], Mapping[str, str]],
    ) -> None:
        """``mute`` answers what is wrong with the BMCs that do not answer, by node."""
        self._state = state
        self._view = view
        self._leadership = leadership
        self._clock = clock
        self._mute = mute
        self._seen: dict[str, Sighting] = {}
        self._stats: dict[str, NodeStats] = {}
        self._read_at: float | None = None
        self._trouble = Trouble("faults")

    def keep(self) -> None:
        """One look, and the writes that follow from it, if this node is primary."""
        snapshot = self._view.snapshot()
        if not self._leadership.is_primary(snapshot):
            self._seen, self._stats, self._read_at = {}, {}, None
            self._trouble.end()
            return
        try:
            self._look(snapshot)
            self._trouble.end()
        except Stale as error:
            log.debug("another look is needed: %s", error)
        except PvcError as error:
            self._trouble.begin(error)

    def _look(self, snapshot: ClusterSnapshot) -> None:
        now = self._clock.now()
        findings = (*faults.conditions(self._with_stats(snapshot)), *faults.mute(self._mute()))
        self._seen = faults.look(self._seen, findings, now)
        self._write(snapshot.faults, faults.changes(snapshot.faults, self._seen, now))
        self._seen = {key: sighting for key, sighting in self._seen.items() if sighting.last == now}

    def _write(self, known: Mapping[str, Fault], wanted: Mapping[str, Fault | None]) -> None:
        """In one transaction. What somebody else has written since it was looked at is left for the next look."""
        if not wanted:
            return
        transaction = self._state.transaction()
        self._leadership.check(transaction)
        written = [key for key, fault in wanted.items() if self._add(transaction, key, known.get(key), fault)]
        transaction.commit()
        for key in written:
            _log(known.get(key), wanted[key])

    def _add(self, transaction: Transaction, key: str, old: Fault | None, new: Fault | None) -> bool:
        entry = self._state.find(records.fault(key))
        if (entry.value if entry is not None else None) != old:
            return False
        if entry is None and new is not None:
            transaction.create(records.fault(key), new)
        elif entry is not None and new is not None:
            transaction.update(entry, new)
        elif entry is not None:
            transaction.delete(entry)
        return True

    def _with_stats(self, snapshot: ClusterSnapshot) -> ClusterSnapshot:
        """With what the running nodes last reported of themselves."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= STATS_INTERVAL:
            found = (
                (name, self._state.find(records.stats(name))) for name, node in snapshot.nodes.items() if node.runs
            )
            # The statistics of machines are most of a report, and no rule about faults reads them.
            self._stats = {name: replace(entry.value, domains={}) for name, entry in found if entry is not None}
            self._read_at = now
        nodes = {name: replace(entry, stats=self._stats.get(name)) for name, entry in snapshot.nodes.items()}
        return replace(snapshot, nodes=nodes)


def _log(old: Fault | None, new: Fault | None) -> None:
    if new is not None and (old is None or old.over) and not new.over:
        log.warning("fault %s: %s => raised: %s", new.id, "none" if old is None else "over", new.message)
    elif new is not None and old is not None and new.over and not old.over:
        log.info("fault %s: raised => over: %s", new.id, new.message)
