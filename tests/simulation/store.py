"""ZooKeeper as nodes meet it: watches that come late, answers that get lost, sessions that end while nobody looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pvc_core.errors import Unavailable
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.fakes.store import children as children_of
from pvc_core.ports import Raw, Session, Write
from tests.simulation.loop import Loop, Process

SESSION_TIMEOUT = 6.0
EXPIRY_STEP = 2.0  # servers end sessions by the tick, so some time after they are due

Records = dict[str, Any]  # the whole tree by path, never changed in place


class Watcher(Protocol):
    """Sees each transaction that was applied."""

    def __call__(self, before: Records, writes: Sequence[Write], author: SimStore | None) -> None: ...


class SimCluster(FakeCluster):
    """The servers. ``quorum`` is false while they can neither commit nor end sessions."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.quorum = True
        self.watcher: Watcher = lambda before, writes, author: None
        self.sessions: dict[int, SimStore] = {}

    def open(self, process: Process | None) -> SimStore:
        """A session for a process; for one that is none of the cluster's, and never cut off, without."""
        store = SimStore(self, process)
        self._stores.append(store)
        self.sessions[store.owner] = store
        return store

    def apply(self, writes: Sequence[Write], owner: int) -> None:
        before = self.records
        super().apply(writes, owner)
        self.watcher(before, writes, self.sessions.get(owner))

    def end_session(self, owner: int) -> None:
        gone = [path for path, record in self.records.items() if record.owner == owner]
        self.records = {path: record for path, record in self.records.items() if record.owner != owner}
        self._publish(gone)

    def stores(self) -> list[SimStore]:
        return list(self._stores)  # type: ignore[arg-type]

    def set_quorum(self, quorum: bool) -> None:
        """Sessions that were silent get their whole time again when a new leader counts it."""
        if quorum != self.quorum:
            self.quorum = quorum
            for store in self.stores():
                store.count()


class SimStore(FakeStore):
    """One client. Its server shows it the tree as of ``_tree``, which may lag; its own writes it sees at once."""

    cluster: SimCluster

    def __init__(self, cluster: SimCluster, process: Process | None) -> None:
        super().__init__(cluster)
        self.process = process
        self.lag = 0.0  # seconds more until changes are heard of
        self._loop = cluster.loop
        self._tree = cluster.records
        self._late: dict[str, None] = {}
        self._flush_due = False
        self._reached = True  # the network between the client and a server that has a quorum
        self._heard = True  # the servers hear the client
        self._count = 0  # of the times the servers began to count this session's silence

    # What the world does to it.

    def reach(self, reached: bool, heard: bool) -> None:
        """``reached``: there is a way to a quorum. ``heard``: there is, and the process runs to use it."""
        if heard != self._heard:
            self._heard = heard
            self.count()
        if reached == self._reached:
            return
        self._reached = reached
        random = self._loop.random
        if reached:
            self._loop.at(random.choice((0.05, 0.5, 2.0)) * random.random(), self._reconnect, self.process)
        else:
            self._loop.at(random.uniform(0.0, SESSION_TIMEOUT * 2 / 3), self._notice, self.process)

    def flicker(self) -> None:
        """The server that it talks to is gone."""
        if self.process is not None:
            self._loop.at(0.0, self._lose, self.process)

    def _lose(self) -> None:
        self.suspend()
        self._loop.at(self._loop.random.uniform(0.02, 1.0), self._reconnect, self.process)

    def count(self) -> None:
        """Begin to count this session's silence, or stop counting."""
        self._count += 1
        if not self._heard and self.cluster.quorum and not self._expired:
            delay = SESSION_TIMEOUT + self._loop.random.uniform(0.0, EXPIRY_STEP)
            self._loop.at(delay, lambda count=self._count: self._expire_if(count))  # type: ignore[misc]

    def _expire_if(self, count: int) -> None:
        if count == self._count:
            self.cluster.end_session(self._owner)
            self._expired = True
            if self._reached:  # it was paused, and finds its connection closed when it wakes
                self._loop.at(self._loop.random.uniform(0.0, 0.2), self._wake, self.process)

    def _wake(self) -> None:
        self._notice(True)
        self._loop.at(self._loop.random.uniform(0.01, 0.5), self._reconnect, self.process)

    def _notice(self, broken: bool = False) -> None:
        if not self._reached or broken:
            self.suspend()

    def _reconnect(self) -> None:
        if not self._reached:
            return
        if self._expired:
            self.suspend()
        self.resume()
        self._flush()
        self.cluster.sessions[self._owner] = self

    # What its process does with it.

    def get(self, path: str) -> Raw | None:
        self._travel("get")
        self._require_connection()
        record = self._tree.get(path)
        return None if record is None else record.raw

    def children(self, path: str) -> list[str]:
        self._travel("get")
        self._require_connection()
        return children_of(self._tree, path)

    def commit(self, writes: Sequence[Write]) -> None:
        self._travel("commit")
        super().commit(writes)
        self._tree = self.cluster.records
        session = self._owner
        self._travel("committed")
        if session != self._owner or self._broken():
            raise Unavailable("the connection to ZooKeeper broke: whether the change was made is not known")

    def settle(self, timeout: float) -> None:
        self._travel("settle")
        self._require_connection()
        self._flush()

    def deliver(self, paths: list[str]) -> None:
        self._late.update((path, None) for mirror in self._mirrors for path in paths if mirror.covers(path))
        if not self._late and not self.lag and not self._broken():
            self._tree = self.cluster.records
        elif not self._flush_due:
            self._flush_due = True
            self._loop.at(self.lag + self._loop.random.uniform(0.0005, 0.01), self._flush_late, self.process)

    def _flush_late(self) -> None:
        self._flush_due = False
        if not self._broken():
            self._flush()

    def _flush(self) -> None:
        paths, self._late = list(self._late), {}
        self._tree = self.cluster.records
        super().deliver(paths)

    def _travel(self, what: str) -> None:
        if self.process is not None:
            self._loop.call(f"store.{what}", 0.001, 0.3, at_once=0.85)

    def _broken(self) -> bool:
        return self._session is not Session.CONNECTED or not self._reached or self._expired

    def _require_connection(self) -> None:
        if self._session is Session.CONNECTED and self._broken():
            self.suspend()
        super()._require_connection()
