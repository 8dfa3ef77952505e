"""This process's connection to the cluster: its configuration, and one watched view for all of its threads."""

from __future__ import annotations

import threading
import time

from django.conf import settings

from pvc_core.config import Config
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.errors import Unavailable
from pvc_core.ports import BlockStore, Session
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView

CONNECT_TIMEOUT = 5.0  # seconds that a caller waits for the first connection before it is told to come back


class Connection:
    """A store with a view that follows it. The view is out of date once the session was gone for as long as it may
    last."""

    def __init__(self, settings: Config) -> None:
        self._patience = settings.zookeeper.session_timeout
        self._store = ZookeeperStore(settings.zookeeper, CONNECT_TIMEOUT)
        self._lost_at: float | None = None
        self._store.on_session(self._on_session)
        self.state = ClusterState(self._store)
        self.view = ClusterView(self._store)
        try:
            self.state.prepare()
            self.view.start()
        except BaseException:
            self._store.close()
            raise

    def check(self) -> None:
        """Raise Unavailable when the cluster's state has not been followed for longer than a session lasts."""
        lost_at = self._lost_at
        if lost_at is not None and time.monotonic() - lost_at > self._patience:
            raise Unavailable("ZooKeeper has no quorum, or cannot be reached: the cluster's state is not known")

    @property
    def connected(self) -> bool:
        """Whether ZooKeeper answers at this moment: what is done under a lock stops while it does not."""
        return self._lost_at is None

    def close(self) -> None:
        self._store.close()

    def _on_session(self, session: Session) -> None:
        if session is Session.CONNECTED:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = time.monotonic()


_lock = threading.Lock()
_connection: Connection | None = None
_blocks: BlockStore | None = None


def config() -> Config:
    return settings.PVC


def connection() -> Connection:
    """The connection of this process, made at the first call. Raises Unavailable without a quorum."""
    global _connection
    if _connection is None:
        if not _lock.acquire(timeout=CONNECT_TIMEOUT):
            raise Unavailable("ZooKeeper has not answered yet: the cluster's state is not known")
        try:
            if _connection is None:
                _connection = Connection(config())
        finally:
            _lock.release()
    _connection.check()
    return _connection


def view() -> ClusterView:
    """The cluster as this process sees it, started. Raises Unavailable without a quorum."""
    return connection().view


def state() -> ClusterState:
    """For conditional writes. Raises Unavailable without a quorum."""
    return connection().state


def blocks() -> BlockStore:
    """Ceph, for the blocks that another cluster sends through this process."""
    global _blocks
    from pvc_core.drivers.ceph import CephBlockStore  # its libraries are large, and most processes never need them

    with _lock:
        _blocks = _blocks or CephBlockStore(config().ceph)
        return _blocks
