"""The store over ZooKeeper (3.6 or newer), through kazoo."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.client import KazooState, TransactionRequest
from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
    UnimplementedError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.interfaces import IAsyncResult
from kazoo.retry import KazooRetry

from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper_client import CONNECTION_ERRORS, RecursiveClient
from pvc_core.drivers.zookeeper_mirror import Mirror
from pvc_core.errors import DriverError, PvcError, Stale, Unavailable
from pvc_core.ports import Check, Create, Delete, Raw, Session, Update, Write

log = logging.getLogger(__name__)
_kazoo_log = logging.getLogger(f"{__name__}.kazoo")
_kazoo_log.setLevel(
    logging.ERROR
)  # it warns at every try to connect; one line for each change of the session says it all

SESSIONS = {
    KazooState.CONNECTED: Session.CONNECTED,
    KazooState.SUSPENDED: Session.SUSPENDED,
    KazooState.LOST: Session.LOST,
}
UNKNOWN_OUTCOME = "the connection to ZooKeeper broke: whether the change was made is not known"


class ZookeeperStore:
    """One session with the servers, renewed for ever when it ends."""

    def __init__(self, config: ZookeeperConfig, connect_timeout: float = 15.0) -> None:
        """Raises Unavailable when no server answers within ``connect_timeout`` seconds."""
        self._patience = config.session_timeout / 3  # as long as kazoo waits for the answer to a ping
        self._session = Session.LOST
        self._owner = 0
        self._begun = threading.Event()
        self._mirrors: list[Mirror] = []
        self._listeners: list[Callable[[Session], None]] = []
        self._client = RecursiveClient(
            self._on_event,
            hosts=",".join(config.hosts),
            timeout=config.session_timeout,
            logger=_kazoo_log,
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, backoff=2, max_delay=1.0),
        )
        self._told = threading.Event()
        self._client.add_listener(self._on_state)
        # kazoo's own start returns before the listener has heard of the session.
        self._client.start_async()
        if not self._begun.wait(connect_timeout):
            self.close()
            hosts = ", ".join(config.hosts)
            raise Unavailable(f"ZooKeeper does not answer at {hosts} within {connect_timeout:g} s")
        # kazoo lets ``start`` return just before it tells its listeners of the connection.
        self._told.wait(connect_timeout)

    def get(self, path: str) -> Raw | None:
        try:
            data, stat = self._await(lambda: self._client.get_async(path))
        except NoNodeError:
            return None
        return Raw(data, stat.version)

    def children(self, path: str) -> list[str]:
        try:
            return sorted(self._await(lambda: self._client.get_children_async(path)))
        except NoNodeError:
            return []

    def commit(self, writes: Sequence[Write]) -> None:
        transaction = self._client.transaction()
        for write in writes:
            _add(transaction, write)
        for write, result in zip(writes, self._await(transaction.commit_async, UNKNOWN_OUTCOME), strict=True):
            # Those before the one that did not fit were rolled back, those after it not tried: it alone says why.
            if isinstance(result, Exception) and not isinstance(result, RolledBackError | RuntimeInconsistency):
                raise _translate(write, result)

    def ensure(self, path: str) -> None:
        self._await(lambda: self._client.ensure_path_async(path))

    def mirror(self, root: str, wanted: Callable[[str], bool], on_change: Callable[[str, Raw | None], None]) -> None:
        mirror = Mirror(self._client, root, wanted, on_change)
        self._mirrors.append(mirror)  # from now on a new connection is followed by a new watch
        try:
            self._await(lambda: self._client.add_watch_async(root))
            mirror.synchronise()
            if not mirror.wait_synchronised(self._connected):
                raise Unavailable("the connection to ZooKeeper broke while the cluster's state was being read")
        except UnimplementedError:
            self._mirrors.remove(mirror)
            raise DriverError("this ZooKeeper has no persistent watches: version 3.6 or newer is needed") from None
        except PvcError:
            self._mirrors.remove(mirror)
            raise

    def settle(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self._settle_once(deadline):
            if time.monotonic() >= deadline:
                raise Unavailable(f"the cluster's state was not brought up to date within {timeout:g} s")

    def on_session(self, listener: Callable[[Session], None]) -> None:
        self._listeners.append(listener)

    @property
    def session(self) -> Session:
        return self._session

    @property
    def owner(self) -> int:
        return self._owner

    def close(self) -> None:
        self._client.stop()
        self._client.close()

    def _settle_once(self, deadline: float) -> bool:
        """One try; False when the connection changed meanwhile or time is up.

        ``sync`` makes the server that serves this session catch up with the leader. The events of all that it then has
        reach this client before the answer, so the reads they cause have been asked for when the answer is here.
        """
        for mirror in self._mirrors:
            if not mirror.wait_synchronised(self._connected, deadline):
                self._require_connection()
                return False
        self._await(lambda: self._client.sync_async("/"), timeout=deadline - time.monotonic())
        return all(mirror.wait_delivered(deadline) for mirror in self._mirrors)

    def _await(
        self,
        request: Callable[[], IAsyncResult],
        failure: str = "the connection to ZooKeeper broke",
        timeout: float | None = None,
    ) -> Any:
        """The answer to a request. Raises Unavailable when none comes, and kazoo's error when the servers refuse it.

        A server that does not answer is left for another while the session still lives.
        """
        self._require_connection()
        connection = self._client.connection
        wait = self._patience if timeout is None else max(0.0, min(timeout, self._patience))
        try:
            return request().get(timeout=wait)
        except KazooTimeoutError:
            if wait == self._patience:
                self._client.hang_up(connection)
            raise Unavailable(failure) from None
        except CONNECTION_ERRORS:
            raise Unavailable(failure) from None

    def _connected(self) -> bool:
        return self._session is Session.CONNECTED

    def _require_connection(self) -> None:
        if not self._connected():
            raise Unavailable("there is no connection to ZooKeeper")

    def _on_state(self, state: str) -> None:
        """On the connection's thread: nothing here may wait for an answer."""
        log.info("session with ZooKeeper: %s => %s", self._session, SESSIONS[state])
        self._session = SESSIONS[state]
        if self._session is Session.CONNECTED:
            self._owner = self._client.client_id[0]
            self._begun.set()
            self._told.set()
            for mirror in self._mirrors:
                self._client.add_watch_async(mirror.root)
                mirror.synchronise()
        elif self._session is Session.LOST:
            self._owner = 0
        for mirror in self._mirrors:
            mirror.wake()
        for listener in self._listeners:
            listener(self._session)

    def _on_event(self, path: str) -> None:
        for mirror in self._mirrors:
            mirror.event(path)


def _add(transaction: TransactionRequest, write: Write) -> None:
    match write:
        case Create(path, data, ephemeral):
            transaction.create(path, data, ephemeral=ephemeral)
        case _ if write.version < 0:  # ZooKeeper would take it for "any version"
            raise ValueError(f"a write to {write.path} needs the version that was read")
        case Update(path, data, version):
            transaction.set_data(path, data, version)
        case Delete(path, version):
            transaction.delete(path, version)
        case Check(path, version):
            transaction.check(path, version)


def _translate(write: Write, error: Exception) -> Exception:
    """The error of one write of a transaction."""
    match error:
        case BadVersionError():
            return Stale(write.path)
        case NodeExistsError():
            return Stale(write.path, "exists already")
        case NoNodeError() if isinstance(write, Create):
            return Stale(write.path, "cannot be created: its parent does not exist")
        case NoNodeError():
            return Stale(write.path, "does not exist")
        case NotEmptyError():
            return Stale(write.path, "cannot be deleted: it has children")
    return DriverError(f"ZooKeeper refused the write to {write.path}: {error!r}")
