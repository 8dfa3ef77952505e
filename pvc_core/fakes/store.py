"""ZooKeeper in memory: one ``FakeCluster`` of servers, any number of ``FakeStore`` sessions.

Every change reaches the mirrors of all connected sessions before the call that made it returns, so tests are
deterministic. A suspended session hears nothing, and catches up when it is resumed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pvc_core.errors import Stale, Unavailable
from pvc_core.ports import Check, Create, Delete, Raw, Session, Update, Write


@dataclass(frozen=True)
class _Record:
    raw: Raw
    owner: int  # the session of an ephemeral record, else 0
    change: int  # number of the transaction that wrote it last


class FakeCluster:
    """The servers' side. ``connect`` opens a session."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.records: dict[str, _Record] = {"/": _Record(Raw(b"", 0), 0, 0)}
        self.commits = 0  # transactions applied so far
        self._stores: list[FakeStore] = []
        self._sessions = 0

    def connect(self) -> FakeStore:
        with self.lock:
            store = FakeStore(self)
            self._stores.append(store)
            return store

    def tree(self) -> dict[str, bytes]:
        """Every record with its content, to be compared before and after."""
        with self.lock:
            return {path: record.raw.data for path, record in sorted(self.records.items())}

    def new_session(self) -> int:
        self._sessions += 1
        return self._sessions

    def end_session(self, owner: int) -> None:
        """Delete the ephemeral records of a session, which no client needs to take part in."""
        with self.lock:
            gone = [path for path, record in self.records.items() if record.owner == owner]
            for path in gone:
                del self.records[path]
            self._publish(gone)

    def apply(self, writes: Sequence[Write], owner: int) -> None:
        """Apply all or raise Stale."""
        with self.lock:
            after = dict(self.records)
            change = self.commits + 1
            for write in writes:
                _apply(after, write, owner, change)
            self.records = after
            self.commits = change
            self._publish([write.path for write in writes if not isinstance(write, Check)])

    def forget(self, store: FakeStore) -> None:
        """Tell it no more; no error when it is forgotten already."""
        with self.lock:
            self._stores = [other for other in self._stores if other is not store]

    def _publish(self, paths: list[str]) -> None:
        for store in list(self._stores):
            store.deliver(paths)


def children(records: dict[str, _Record], path: str) -> list[str]:
    prefix = path.rstrip("/") + "/"
    names = (other.removeprefix(prefix) for other in records if other.startswith(prefix))
    return sorted(name for name in names if name and "/" not in name)


def _apply(records: dict[str, _Record], write: Write, owner: int, change: int) -> None:
    path = write.path
    old = records.get(path)
    if isinstance(write, Create):
        parent = path.rpartition("/")[0] or "/"
        if old is not None:
            raise Stale(path, "exists already")
        if parent not in records:
            raise Stale(path, "cannot be created: its parent does not exist")
        records[path] = _Record(Raw(write.data, 0), owner if write.ephemeral else 0, change)
        return
    if write.version < 0:
        raise ValueError(f"a write to {path} needs the version that was read")
    if old is None:
        raise Stale(path, "does not exist")
    if old.raw.version != write.version:
        raise Stale(path)
    if isinstance(write, Update):
        records[path] = replace(old, raw=Raw(write.data, old.raw.version + 1), change=change)
    elif isinstance(write, Delete):
        if children(records, path):
            raise Stale(path, "cannot be deleted: it has children")
        del records[path]


class _Mirror:
    def __init__(self, root: str, wanted: Callable[[str], bool], on_change: Callable[[str, Raw | None], None]) -> None:
        self._root = root
        self._wanted = wanted
        self._on_change = on_change
        self._seen: dict[str, int] = {}  # path -> number of the change that was delivered
        self._covered: dict[str, bool] = {}  # answers of ``covers``, which do not change

    def catch_up(self, records: dict[str, _Record]) -> None:
        for path in sorted({*self._seen, *records}):
            self.look(records, path)

    def look(self, records: dict[str, _Record], path: str) -> None:
        if not self.covers(path):
            return
        record = records.get(path)
        if record is None:
            if self._seen.pop(path, None) is not None:
                self._on_change(path, None)
        elif self._seen.get(path) != record.change:
            self._seen[path] = record.change
            self._on_change(path, record.raw)

    def covers(self, path: str) -> bool:
        """Whether changes of this path are delivered."""
        if path not in self._covered:
            self._covered[path] = self._is_wanted(path)
        return self._covered[path]

    def _is_wanted(self, path: str) -> bool:
        if path != self._root and not path.startswith(f"{self._root}/"):
            return False
        ends = [i for i in range(len(self._root), len(path)) if path[i] == "/"] + [len(path)]
        return all(self._wanted(path[:end]) for end in ends)


class FakeStore:
    """One client. A test calls ``suspend``, ``resume``, ``expire`` and ``lose_answer``."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self._owner = cluster.new_session()
        self._session = Session.CONNECTED
        self._expired = False
        self._lose_answer = False
        self._mirrors: list[_Mirror] = []
        self._listeners: list[Callable[[Session], None]] = []

    def get(self, path: str) -> Raw | None:
        with self.cluster.lock:
            self._require_connection()
            record = self.cluster.records.get(path)
            return None if record is None else record.raw

    def children(self, path: str) -> list[str]:
        with self.cluster.lock:
            self._require_connection()
            return children(self.cluster.records, path)

    def commit(self, writes: Sequence[Write]) -> None:
        with self.cluster.lock:
            self._require_connection()
            self.cluster.apply(writes, self._owner)
            if self._lose_answer:
                self._lose_answer = False
                raise Unavailable("the connection to ZooKeeper broke: whether the change was made is not known")

    def ensure(self, path: str) -> None:
        with self.cluster.lock:
            self._require_connection()
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts) + 1):
                ancestor = "/" + "/".join(parts[:depth])
                if ancestor not in self.cluster.records:
                    self.cluster.apply([Create(ancestor, b"")], self._owner)

    def mirror(self, root: str, wanted: Callable[[str], bool], on_change: Callable[[str, Raw | None], None]) -> None:
        with self.cluster.lock:
            self._require_connection()
            mirror = _Mirror(root, wanted, on_change)
            mirror.catch_up(self.cluster.records)
            self._mirrors.append(mirror)

    def settle(self, timeout: float) -> None:
        with self.cluster.lock:
            self._require_connection()

    def on_session(self, listener: Callable[[Session], None]) -> None:
        self._listeners.append(listener)

    @property
    def session(self) -> Session:
        return self._session

    @property
    def owner(self) -> int:
        return 0 if self._session is Session.LOST else self._owner

    def close(self) -> None:
        with self.cluster.lock:
            self.cluster.forget(self)
            self._session = Session.LOST
            self.cluster.end_session(self._owner)

    def suspend(self) -> None:
        """Break the connection. The session stays alive on the servers until ``expire``."""
        with self.cluster.lock:
            if self._session is Session.CONNECTED:
                self._change(Session.SUSPENDED)

    def resume(self) -> None:
        """Mend the connection: the mirrors catch up, under a new session when the old one expired meanwhile."""
        with self.cluster.lock:
            if self._session is Session.CONNECTED:
                return
            if self._expired:
                self._expired = False
                self._change(Session.LOST)
                self._owner = self.cluster.new_session()
            self._change(Session.CONNECTED)
            for mirror in self._mirrors:
                mirror.catch_up(self.cluster.records)

    def expire(self) -> None:
        """End the session on the servers. A connected client hears it and opens a new one; a suspended one learns of it
        when it is resumed."""
        with self.cluster.lock:
            self.cluster.end_session(self._owner)
            self._expired = True
            if self._session is Session.CONNECTED:
                self._session = Session.SUSPENDED
                self.resume()

    def lose_answer(self) -> None:
        """The next commit is applied, and its answer lost."""
        self._lose_answer = True

    def deliver(self, paths: list[str]) -> None:
        if self._session is Session.CONNECTED:
            for mirror in self._mirrors:
                for path in paths:
                    mirror.look(self.cluster.records, path)

    def _change(self, session: Session) -> None:
        self._session = session
        for listener in self._listeners:
            listener(session)

    def _require_connection(self) -> None:
        if self._session is not Session.CONNECTED:
            raise Unavailable("there is no connection to ZooKeeper")
