"""Follows one subtree of ZooKeeper: reads it whole, and then each record for which the watch fires.

Reads are sent in batches, a few at a time, and their answers come in order. A watch's event says only that a record
changed, so the record is read again; several events of one record that wait for their turn are one read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kazoo.exceptions import KazooException
from kazoo.interfaces import IAsyncResult

from pvc_core.drivers.zookeeper_client import CONNECTION_ERRORS, Content, Read, RecursiveClient
from pvc_core.errors import DriverError
from pvc_core.ports import Raw

log = logging.getLogger(__name__)

BATCH = 100  # reads in one request
WINDOW = 4  # requests under way at a time


class Mirror:
    """``on_change`` is called on the client's completion thread, one call at a time.

    A synchronisation walks the whole subtree, and is made again with each new connection, since the watch does not tell
    what happened while there was none. Only records whose transaction id differs are delivered again.
    """

    def __init__(
        self,
        client: RecursiveClient,
        root: str,
        wanted: Callable[[str], bool],
        on_change: Callable[[str, Raw | None], None],
    ) -> None:
        self.root = root
        self._client = client
        self._wanted = wanted
        self._on_change = on_change
        self._state = threading.Condition()
        self._seen: dict[str, int] = {}  # path -> transaction id of the version that was delivered
        self._unconfirmed: set[str] = set()  # delivered before this synchronisation, and not yet found again
        self._todo: deque[Read] = deque()
        self._queued: set[str] = set()  # paths of the records in _todo
        self._synchronised = False
        self._epoch = 0  # counts the synchronisations
        self._under_way = 0
        self._issued = 0
        self._done = 0
        self._error: KazooException | None = None  # why the servers refuse to be read

    def synchronise(self) -> None:
        """Read the whole subtree, in the background. The watch must have been asked for before."""
        with self._state:
            self._epoch += 1
            self._synchronised = False
            self._unconfirmed = set(self._seen)
            self._done += len(self._todo)
            self._todo.clear()
            self._queued.clear()
            self._push(Read(self.root))
        self._send()

    def event(self, path: str) -> None:
        """A record changed, appeared or went."""
        if not self._covers(path):
            return
        with self._state:
            if path not in self._queued:
                self._push(Read(path))
        self._send()

    def wait_synchronised(self, connected: Callable[[], bool], deadline: float | None = None) -> bool:
        """False when the connection was lost, or ``deadline`` (monotonic) passed, before that.

        Raises DriverError when the servers refuse to be read.
        """
        with self._state:
            self._wait(lambda: self._synchronised or self._error is not None or not connected(), deadline)
            if self._error is not None:
                raise DriverError(f"ZooKeeper refuses to read {self.root}: {self._error!r}")
            return self._synchronised and connected()

    def wait_delivered(self, deadline: float) -> bool:
        """Wait until everything that was asked for before this call was delivered.

        False when the connection was lost meanwhile, or ``deadline`` (monotonic) passed.
        """
        with self._state:
            epoch, target = self._epoch, self._issued
            self._wait(lambda: self._done >= target or self._epoch != epoch, deadline)
            return self._done >= target and self._epoch == epoch and self._synchronised

    def wake(self) -> None:
        """Let those who wait look again: the connection has changed."""
        with self._state:
            self._state.notify_all()

    def _wait(self, condition: Callable[[], bool], deadline: float | None) -> None:
        self._state.wait_for(condition, None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _covers(self, path: str) -> bool:
        if path != self.root and not path.startswith(f"{self.root}/"):
            return False
        ends = [i for i in range(len(self.root), len(path)) if path[i] == "/"] + [len(path)]
        return all(self._wanted(path[:end]) for end in ends)

    def _push(self, read: Read) -> None:
        self._todo.append(read)
        self._issued += 1
        if not read.children:
            self._queued.add(read.path)

    def _send(self) -> None:
        with self._state:
            while self._todo and self._under_way < WINDOW:
                batch = [self._todo.popleft() for _ in range(min(BATCH, len(self._todo)))]
                self._queued.difference_update(read.path for read in batch)
                self._under_way += 1
                self._client.read_async(batch).rawlink(partial(self._receive, self._epoch, batch))

    def _receive(self, epoch: int, batch: Sequence[Read], result: IAsyncResult) -> None:
        answers: Sequence[Any] = ()
        try:
            answers = result.get()
        except CONNECTION_ERRORS as error:  # with the next connection all is read anew
            log.debug("a read below %s was lost: %s", self.root, type(error).__name__)
        except KazooException as error:
            log.error("ZooKeeper refuses to read below %s: %r", self.root, error)
            self._error = error
        for read, answer in zip(batch, answers, strict=False):
            if read.children:
                self._take_children(read.path, answer or [])
            else:
                self._take(read.path, answer, epoch)
        with self._state:
            self._under_way -= 1
            self._done += len(batch)
            if epoch == self._epoch:
                if answers:
                    self._end_walk()
                else:
                    self._synchronised = False
            self._state.notify_all()
        self._send()

    def _take_children(self, path: str, names: Sequence[str]) -> None:
        paths = [f"{path}/{name}" for name in names]
        wanted = [child for child in paths if self._wanted(child)]
        with self._state:
            for child in wanted:
                self._push(Read(child))

    def _take(self, path: str, content: Content | None, epoch: int) -> None:
        with self._state:
            if epoch == self._epoch:
                self._unconfirmed.discard(path)
                if not self._synchronised and content is not None and content.stat.numChildren:
                    self._push(Read(path, children=True))
            change = None if content is None else content.stat.mzxid
            if self._seen.get(path) == change:
                return
            if change is None:
                del self._seen[path]
            else:
                self._seen[path] = change
        raw = None if content is None else Raw(content.data, content.stat.version)
        try:
            self._on_change(path, raw)
        except Exception:  # a defect in the listener must not end the following of all other records
            log.exception("the change of %s was not taken in", path)

    def _end_walk(self) -> None:
        """Called with the state's lock after each batch.

        What was not found again is looked for by its path before it is called deleted: it may have been made after its
        parent's list was read.
        """
        if self._synchronised or self._todo or self._under_way:
            return
        if self._unconfirmed:
            for path in sorted(self._unconfirmed):
                self._push(Read(path))
            self._unconfirmed = set()
        else:
            self._synchronised = True
