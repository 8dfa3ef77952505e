"""Since when each node has been missed, as this node itself has seen it."""

from __future__ import annotations

from pvc_core.config import Config
from pvc_core.model.snapshot import ClusterSnapshot

GAP = 3.0  # seconds between two looks after which this node's own view is not to be relied on: it may have been paused


class Watch:
    """A node is missed only by one who looks all the while and has a connection: what is not seen proves nothing.

    ``due`` are the nodes whose saving throw is over. Used by one thread.
    """

    def __init__(self, config: Config) -> None:
        timing, fencing = config.timing, config.fencing
        self._saving_throw = max(
            0.0, fencing.fence_intervals * timing.keepalive_interval - config.zookeeper.session_timeout
        )
        self._rejoin_grace = fencing.rejoin_grace
        self._boot_grace = fencing.boot_grace
        self._looked: float | None = None
        self._not_before = 0.0  # monotonic, before which no node begins to be missed
        self._since: dict[str, float] = {}
        self._seen: set[str] = set()  # nodes that were alive at some time since this daemon began

    def interrupt(self) -> None:
        """There is no connection: what comes now is seen anew."""
        self._looked = None
        self._since.clear()

    def look(self, snapshot: ClusterSnapshot, now: float) -> frozenset[str]:
        """The nodes that are due. ``now`` is monotonic."""
        if self._looked is None or now - self._looked > GAP:
            self._since.clear()
            resumed = self._looked is not None or bool(self._seen)
            self._not_before = now + (self._rejoin_grace if resumed else 0.0)
        self._looked = now
        alive = {name for name, entry in snapshot.nodes.items() if entry.alive is not None}
        self._seen |= alive
        missing = snapshot.nodes.keys() - alive
        begun = max(now, self._not_before)
        self._since = {name: self._since.get(name, begun) for name in missing}
        return frozenset(name for name, since in self._since.items() if now - since >= self._grace(name))

    def _grace(self, name: str) -> float:
        return self._saving_throw if name in self._seen else max(self._saving_throw, self._boot_grace)
