"""What a node does that is cut off from all others, where its configuration wants it to do something."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from pvc_core.errors import DriverError
from pvc_core.model.node import Addresses, NodeRole
from pvc_core.ports import Clock, Hypervisor, Session, Store, Watchdog
from pvc_core.state.view import ClusterView

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 1.0  # seconds


class Isolation:
    """Stops this node's machines once it was alone for ``limit`` seconds; the watchdog resets a node that cannot.

    A node is alone that has neither a connection to ZooKeeper nor a coordinator that ``answers`` at its address in the
    cluster network. Where others answer, it is ZooKeeper that is gone, and machines run on. ``look`` is called by one
    thread, at least once a keepalive.
    """

    def __init__(
        self,
        node: str,
        limit: float,
        store: Store,
        view: ClusterView,
        hypervisor: Hypervisor,
        clock: Clock,
        answers: Callable[[str], bool],
        watchdog: Watchdog | None = None,
    ) -> None:
        self._node = node
        self._limit = limit
        self._store = store
        self._view = view
        self._hypervisor = hypervisor
        self._clock = clock
        self._answers = answers
        self._watchdog = watchdog
        self._accompanied = clock.monotonic()

    def look(self) -> None:
        """One look, and what follows from it."""
        if self._store.session is Session.CONNECTED or self._has_neighbour():
            self._accompanied = self._clock.monotonic()
        alone = self._clock.monotonic() - self._accompanied
        if alone < self._limit:
            if self._watchdog is not None:
                self._watchdog.put_off()
            return
        try:
            self._stop_machines(alone)
        except DriverError as error:
            log.error("the machines of this node cannot be stopped: %s", error)

    def close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.close()

    def _has_neighbour(self) -> bool:
        others = (entry.node for name, entry in self._view.snapshot().nodes.items() if name != self._node)
        hosts = (Addresses.host(node.addresses.cluster) for node in others if node.role is NodeRole.COORDINATOR)
        return any(self._answers(host) for host in hosts if host)

    def _stop_machines(self, alone: float) -> None:
        for uuid, domain in self._hypervisor.domains().items():
            if domain.alive:
                log.warning("vm %s (%s): %s => destroyed: alone for %.0f s", domain.name, uuid, domain.run, alone)
                self._hypervisor.destroy(uuid)


def listens(port: int) -> Callable[[str], bool]:
    """Whether a node's daemon takes connections at an address."""

    def answers(host: str) -> bool:
        with suppress(OSError), socket.create_connection((host, port), ANSWER_TIMEOUT):
            return True
        return False

    return answers
