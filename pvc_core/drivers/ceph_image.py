"""One opened RBD image: what differs in it, and its content, several requests at a time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import rbd

from pvc_core.drivers.ceph_connection import CephConnection, driver_error, translated
from pvc_core.errors import Conflict, PvcError
from pvc_core.ports import Extent

REQUESTS = 8  # under way at a time, and no more than
BYTES = 16 << 20  # of them together, unless one alone is larger
PIECE = 512 << 10  # bytes read ahead in one request, and those that whoever sends blocks asks for
WINDOW = 64 << 30  # bytes of an image whose changed objects are looked up in one go
BATCH = 256 << 20  # bytes of them that are looked at closely in one go
NOTES = "pvc."  # what the keys of our remarks begin with, among the image's metadata


@contextmanager
def opened(
    ceph: CephConnection, pool: str, name: str, *, snapshot: str = "", read_only: bool = True
) -> Iterator[rbd.Image]:
    """An image by Ceph's own bindings. Raises NotFound."""
    what = f"volume {pool}/{name}" + (f"@{snapshot}" if snapshot else "")
    with ceph.pool(pool) as context, translated(what):
        image = rbd.Image(context, name, snapshot=snapshot or None, read_only=read_only)
        try:
            yield image
        finally:
            image.close()


@contextmanager
def open_image(
    ceph: CephConnection, pool: str, name: str, *, snapshot: str = "", writable: bool = False
) -> Iterator[CephImage]:
    with opened(ceph, pool, name, snapshot=snapshot, read_only=not writable) as raw:
        image = CephImage(raw, f"volume {pool}/{name}", read_ahead=not writable)
        if snapshot:
            image.depend_on(snapshot)
        try:
            yield image
            image.flush()
        finally:
            image.settle()
    if image.needed:
        _require_there(ceph, pool, name, image.needed)


def _require_there(ceph: CephConnection, pool: str, name: str, needed: dict[str, int]) -> None:
    """An image that is open for reading does not notice that its snapshot is removed, and then holds zeros."""
    with opened(ceph, pool, name) as image:
        there = {int(found["id"]) for found in image.list_snaps()}
    for snapshot, number in needed.items():
        if number not in there:
            raise Conflict(f"snapshot {pool}/{name}@{snapshot} was removed while it was read")


@dataclass
class _Request:
    """Something that Ceph was asked for."""

    offset: int
    length: int
    content: list[bytes] = field(default_factory=list)  # what is written, or what has come
    completion: rbd.Completion = field(init=False)

    def wait(self) -> int:
        self.completion.wait_for_complete_and_cb()
        return int(self.completion.get_return_value())


class CephImage:
    """``read_ahead``: fetch what ``extents`` has told of before it is asked for. Not for an image that is written."""

    def __init__(self, image: rbd.Image, what: str, *, read_ahead: bool) -> None:
        self._image = image
        self._what = what
        self._read_ahead = read_ahead
        self._planned: deque[_Request] = deque()  # data that will likely be read, in ascending order
        self._reads: deque[_Request] = deque()
        self._writes: deque[_Request] = deque()
        self._error: PvcError | None = None  # the first that a write met
        self.needed: dict[str, int] = {}  # snapshots without which what was read is not to be trusted: name -> id

    def depend_on(self, snapshot: str) -> None:
        with translated(self._what):
            self.needed |= {snap["name"]: snap["id"] for snap in self._image.list_snaps() if snap["name"] == snapshot}

    @property
    def size(self) -> int:
        with translated(self._what):
            return int(self._image.size())

    def extents(self, since: str = "", start: int = 0) -> Iterator[Extent]:
        self._forget_before(sys.maxsize)
        self.depend_on(since)
        batches = self._batches(since, start)
        batch = self._plan(next(batches, []))
        while batch:
            following = self._plan(next(batches, []))  # early, so that reading goes on while it is looked up
            yield from batch
            self._forget_before(batch[-1].offset)
            batch = following

    def read(self, offset: int, length: int) -> bytes:
        self._forget_before(offset)
        self._fetch()
        if self._reads and (self._reads[0].offset, self._reads[0].length) == (offset, length):
            request = self._reads.popleft()
            self._fetch()
            code = request.wait()
            if code < 0:
                raise driver_error(self._what, code, "")
            return request.content[0]
        with translated(self._what):
            return bytes(self._image.read(offset, length))

    def write(self, offset: int, data: bytes) -> None:
        request = _Request(offset, len(data), [data])  # Ceph reads from ``data`` until it has answered
        self._send(request, lambda: self._image.aio_write(data, offset, _nothing))

    def zero(self, offset: int, length: int) -> None:
        # Not ``discard``, which leaves alone what is smaller than the granularity it is configured with.
        request = _Request(offset, 0)
        self._send(request, lambda: self._image.aio_write_zeroes(offset, length, _nothing))

    def flush(self) -> None:
        self._reap(leave=0)
        if not self._read_ahead:
            with translated(self._what):
                self._image.flush()

    def resize(self, size: int) -> None:
        self.flush()
        with translated(self._what):
            self._image.resize(size)

    def note(self, key: str) -> str:
        with translated(self._what), suppress(KeyError):
            return str(self._image.metadata_get(NOTES + key))
        return ""

    def set_note(self, key: str, value: str) -> None:
        with translated(self._what), suppress(KeyError):
            if value:
                self._image.metadata_set(NOTES + key, value)
            else:
                self._image.metadata_remove(NOTES + key)

    def settle(self) -> None:
        """Wait until nothing is under way, whatever comes of it."""
        for request in (*self._reads, *self._writes):
            request.wait()
        self._reads.clear()
        self._writes.clear()

    def _batches(self, since: str, start: int) -> Iterator[list[Extent]]:
        for low, high in self._candidates(since, start):
            for offset in range(low, high, BATCH):
                found = self._differences(since, offset, min(BATCH, high - offset), whole_objects=False)
                # Where nothing is stored there is nothing to tell of an image that began empty.
                if found := [extent for extent in found if extent.data or since]:
                    yield found

    def _candidates(self, since: str, start: int) -> Iterator[tuple[int, int]]:
        """Where objects differ, as the object map has it, which costs no look at them: from, to."""
        for offset in range(start, self.size, WINDOW):
            length = min(WINDOW, self.size - offset)
            if not self._has_fast_diff():
                yield offset, offset + length
                continue
            found = self._differences(since, offset, length, whole_objects=True)
            yield from ((extent.offset, extent.offset + extent.length) for extent in found)

    def _has_fast_diff(self) -> bool:
        valid = not self._image.flags() & rbd.RBD_FLAG_FAST_DIFF_INVALID
        return bool(valid and self._image.features() & rbd.RBD_FEATURE_FAST_DIFF)

    def _differences(self, since: str, offset: int, length: int, *, whole_objects: bool) -> list[Extent]:
        found: list[Extent] = []

        def add(at: int, size: int, data: bool) -> None:
            last = found[-1] if found else None
            if last is not None and last.data == data and last.offset + last.length == at:
                found[-1] = Extent(last.offset, last.length + size, data)
            else:
                found.append(Extent(at, size, data))

        what = f"{self._what}@{since}" if since else self._what
        with translated(what):
            self._image.diff_iterate(offset, length, since or None, add, True, whole_objects)
        return found

    def _plan(self, batch: list[Extent]) -> list[Extent]:
        if batch and self._read_ahead:
            for extent in batch:
                end = extent.offset + extent.length
                for offset in range(extent.offset, end if extent.data else 0, PIECE):
                    self._planned.append(_Request(offset, min(PIECE, end - offset)))
        return batch

    def _forget_before(self, offset: int) -> None:
        while self._planned and self._planned[0].offset < offset:
            self._planned.popleft()
        while self._reads and self._reads[0].offset < offset:
            self._reads.popleft().wait()

    def _fetch(self) -> None:
        """Ask for what comes next."""
        while self._planned and _has_room(self._reads, self._planned[0]):
            request = self._planned.popleft()
            with translated(self._what):
                request.completion = self._image.aio_read(request.offset, request.length, _into(request.content))
            self._reads.append(request)

    def _send(self, request: _Request, begin: Callable[[], rbd.Completion]) -> None:
        while not _has_room(self._writes, request):
            self._reap(leave=len(self._writes) - 1)
        self._raise_first()
        with translated(self._what):
            request.completion = begin()
        self._writes.append(request)

    def _reap(self, leave: int) -> None:
        """Wait for the oldest writes. Raises the first error of any so far."""
        while len(self._writes) > leave:
            code = self._writes.popleft().wait()
            if code < 0 and self._error is None:
                self._error = driver_error(self._what, code, "")
        self._raise_first()

    def _raise_first(self) -> None:
        if self._error is not None:
            raise self._error


def _has_room(under_way: deque[_Request], request: _Request) -> bool:
    total = sum(other.length for other in under_way)
    return not under_way or (len(under_way) < REQUESTS and total + request.length <= BYTES)


def _nothing(_: rbd.Completion) -> None:
    """A request that is waited for later needs no word when it is done."""


def _into(content: list[bytes]) -> Callable[[rbd.Completion, bytes | None], None]:
    """Keep what has come. It refers to no request, which refers to its completion, which refers to this: Python frees
    such a circle late, with all that was read."""
    return lambda _, data: content.append(data or b"")
