"""ZooKeeper: a tree of small versioned records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Session(StrEnum):
    """State of the connection to ZooKeeper."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"  # no connection now; the session may still be alive on the servers
    LOST = "lost"  # the session has ended, and with it every ephemeral node


@dataclass(frozen=True, slots=True)
class Raw:
    """Content of one znode with its version."""

    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Create:
    path: str
    data: bytes
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    path: str
    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    path: str
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """Fails the transaction unless ``path`` exists with ``version``."""

    path: str
    version: int


Write = Create | Update | Delete | Check


class Store(Protocol):
    """A tree of small versioned records with atomic transactions, ephemeral records and watches (ZooKeeper)."""

    def get(self, path: str) -> Raw | None:
        """The record, or None when it does not exist. Raises Unavailable without a quorum."""
        ...

    def children(self, path: str) -> list[str]:
        """Names of the children of ``path``, sorted; empty when it does not exist."""
        ...

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes or none. Raises Stale naming the first path that did not fit, Unavailable when the outcome
        is not known or there is no quorum. The parents of a created path must exist."""
        ...

    def ensure(self, path: str) -> None:
        """Create ``path`` and its parents as empty records where they are missing."""
        ...

    def mirror(self, root: str, wanted: Callable[[str], bool], on_change: Callable[[str, Raw | None], None]) -> None:
        """Call ``on_change(path, record)`` for each wanted record at or below ``root`` as it is now, and again after
        every change (None: it was deleted). Returns once the present state was delivered. A path that is not wanted
        is not descended into. Calls come one at a time, in order for any one record; an intermediate version may be
        left out. After a lost connection or session, what changed meanwhile is delivered when it is back."""
        ...

    def settle(self, timeout: float) -> None:
        """Wait until every change committed by anyone before this call was delivered to the mirrors. Raises Unavailable
        when that takes longer than ``timeout`` seconds."""
        ...

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """Call ``listener`` after each change of the session's state; it must return at once."""
        ...

    @property
    def session(self) -> Session: ...

    @property
    def owner(self) -> int:
        """Id of the present session, 0 without one."""
        ...

    def close(self) -> None:
        """End the session, and with it this client's ephemeral records."""
        ...
