"""Two requests that ZooKeeper has since 3.6 and kazoo 2.11 has not: the persistent recursive watch and the multi-read.

With one-shot watches, each client would hold a watch for each record of the cluster, on the servers too, and set each
anew after every change. One persistent recursive watch stands for all of them.

And what a session needs to outlive the server it is connected to, when that falls silent: kazoo waits for a ping's
answer only while it sends nothing else, and tries to connect to a silent server for as long as the session may live.

This module reaches into kazoo's internals, which is why kazoo is pinned to one version; nothing else does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from kazoo.client import KazooClient
from kazoo.exceptions import (
    EXCEPTIONS,
    ConnectionLoss,
    NoNodeError,
    OperationTimeoutError,
    RequestTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.interfaces import IAsyncResult
from kazoo.protocol.serialization import (
    GetChildren,
    GetData,
    MultiHeader,
    int_struct,
    multiheader_struct,
    read_buffer,
    stat_struct,
    write_string,
)
from kazoo.protocol.states import ZnodeStat

PERSISTENT_RECURSIVE = 1
END_OF_OPERATIONS = multiheader_struct.pack(-1, True, -1)
CONNECTION_ERRORS = (
    ConnectionLoss,
    SessionExpiredError,
    SessionMovedError,
    OperationTimeoutError,
    RequestTimeoutError,
)


class Content(NamedTuple):
    """Answer to a read of one record."""

    data: bytes
    stat: ZnodeStat


@dataclass(frozen=True, slots=True)
class Read:
    """One part of a multi-read: a record's content and stat, or the names of its children."""

    path: str
    children: bool = False


@dataclass(frozen=True, slots=True)
class AddWatch:
    path: str
    type: ClassVar[int] = 106

    def serialize(self) -> bytes:
        return bytes(write_string(self.path) + int_struct.pack(PERSISTENT_RECURSIVE))

    @classmethod
    def deserialize(cls, _data: bytes, _offset: int) -> None:
        """Success is the absence of an error in the header."""


@dataclass(frozen=True, slots=True)
class MultiRead:
    """Several reads in one round trip. Answers a list with, for each: Content, a list of names, or None where there is
    no such record."""

    reads: Sequence[Read]
    type: ClassVar[int] = 22

    def serialize(self) -> bytes:
        message = bytearray()
        for read in self.reads:
            request = GetChildren(read.path, None) if read.children else GetData(read.path, None)
            message += MultiHeader(request.type, False, -1).serialize() + request.serialize()
        return bytes(message + END_OF_OPERATIONS)

    @classmethod
    def deserialize(cls, data: bytes, offset: int) -> list[Content | list[str] | None]:
        answers: list[Content | list[str] | None] = []
        while True:
            header, offset = MultiHeader.deserialize(data, offset)
            if header.done:
                return answers
            if header.type == GetData.type:
                content, offset = read_buffer(data, offset)
                stat = ZnodeStat._make(stat_struct.unpack_from(data, offset))
                answers.append(Content(content or b"", stat))
                offset += stat_struct.size
            elif header.type == GetChildren.type:
                names = GetChildren.deserialize(data, offset)
                answers.append(names)
                offset += int_struct.size + sum(int_struct.size + len(name.encode()) for name in names)
            else:
                code = int_struct.unpack_from(data, offset)[0]
                offset += int_struct.size
                if code != NoNodeError.code:
                    raise EXCEPTIONS[code]()
                answers.append(None)


class RecursiveClient(KazooClient):  # type: ignore[misc]
    """A client whose watches are all persistent and recursive.

    ``on_event(path)`` is called on the connection's thread, in order with the answers to requests; it must not wait.
    """

    def __init__(self, on_event: Callable[[str], None], timeout: float, **arguments: Any) -> None:
        """``timeout`` is the session's, in seconds."""
        self._watchers = _EveryPath(on_event)
        super().__init__(timeout=timeout, handler=_Handler(timeout / 6), **arguments)
        self._reset_watchers()

    @property
    def connection(self) -> socket.socket | None:
        """What a request made now is sent over."""
        found: socket.socket | None = self._connection._socket
        return found

    def hang_up(self, connection: socket.socket | None) -> None:
        """Have the next server tried, unless ``connection`` is over already."""
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add_watch_async(self, path: str) -> IAsyncResult:
        """Watch ``path`` and all below it until the connection ends; it has to be asked for again after that."""
        return self._request(AddWatch(path))

    def read_async(self, reads: Sequence[Read]) -> IAsyncResult:
        return self._request(MultiRead(reads))

    def _request(self, request: object) -> IAsyncResult:
        result = self.handler.async_result()
        self._call(request, result)
        return result

    def _reset_watchers(self) -> None:
        # What kazoo looks its one-shot watchers up in; it makes them anew with every connection.
        self._data_watchers = self._watchers
        self._child_watchers: dict[str, object] = {}


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]
    def __init__(self, connect_timeout: float) -> None:
        super().__init__()
        self._connect_timeout = connect_timeout

    def create_connection(self, *arguments: Any, timeout: float, **options: Any) -> socket.socket:
        timeout = min(timeout, self._connect_timeout)
        made: socket.socket = super().create_connection(*arguments, timeout=timeout, **options)
        return made


class _EveryPath:
    """Stands where kazoo keeps its table of one-shot watchers, and passes every event on."""

    def __init__(self, on_event: Callable[[str], None]) -> None:
        self._on_event = on_event

    def pop(self, path: str, _default: object) -> Iterable[object]:
        self._on_event(path)
        return ()
