"""One image of Ceph in memory, and what it looks like to whoever opens it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pvc_core.errors import DriverError, NotFound
from pvc_core.model.storage import ImageSnapshot, Volume
from pvc_core.ports import Extent, Locker

BLOCK = 4096  # bytes; what differs is found in these


@dataclass
class FakeImage:
    """``content`` is what was written, without the zeros that follow it up to the image's size. ``moments`` are the
    contents of its snapshots."""

    volume: Volume
    content: bytes = b""
    moments: dict[str, bytes] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    lockers: list[Locker] = field(default_factory=list)
    watchers: list[str] = field(default_factory=list)

    def snapshot(self, name: str) -> ImageSnapshot:
        """Raises NotFound."""
        for snapshot in self.volume.snapshots:
            if snapshot.name == name:
                return snapshot
        raise NotFound(f"snapshot {self.volume.full_name}@{name} does not exist in Ceph")

    def set_snapshot(self, name: str, new: ImageSnapshot | None) -> None:
        """Put another in the place of a snapshot, or none."""
        snapshots = [new if snapshot.name == name else snapshot for snapshot in self.volume.snapshots]
        self.volume = replace(self.volume, snapshots=tuple(snapshot for snapshot in snapshots if snapshot))

    def resize(self, size: int) -> None:
        self.content = self.content[:size]
        self.volume = replace(self.volume, size=size)


class FakeBlockImage:
    """Writes are stored at once."""

    def __init__(self, image: FakeImage, snapshot: str, writable: bool) -> None:
        self._image = image
        self._snapshot = image.snapshot(snapshot) if snapshot else None
        self._moment = image.moments.get(snapshot, b"")
        self.needed = {snapshot} if snapshot else set()
        self._writable = writable

    @property
    def size(self) -> int:
        return (self._snapshot or self._image.volume).size

    def extents(self, since: str = "", start: int = 0) -> Iterator[Extent]:
        image, content = self._image, self._content
        before = image.moments[image.snapshot(since).name] if since else b""
        if since:
            self.needed.add(since)
        pending: Extent | None = None
        for offset in range(start, min(self.size, max(len(content), len(before))), BLOCK):
            new, old = (blocks[offset : offset + BLOCK].rstrip(b"\0") for blocks in (content, before))
            length, data = min(BLOCK, self.size - offset), bool(new)
            if new == old:
                continue
            if pending and pending.data == data and pending.offset + pending.length == offset:
                pending = Extent(pending.offset, pending.length + length, data)
                continue
            if pending:
                yield pending
            pending = Extent(offset, length, data)
        if pending:
            yield pending

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        return self._content[offset : offset + length].ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        image = self._image
        if not self._writable:
            raise DriverError(f"Ceph: volume {image.volume.full_name}: Read-only file system")
        if offset + len(data) > self.size:
            raise DriverError(f"Ceph: volume {image.volume.full_name}: Invalid argument")
        content = image.content.ljust(offset, b"\0")
        image.content = (content[:offset] + data + content[offset + len(data) :]).rstrip(b"\0")

    def zero(self, offset: int, length: int) -> None:
        kept = len(self._image.content)  # what lies behind it is zeros
        if offset < kept:
            self.write(offset, bytes(min(length, kept - offset)))

    def flush(self) -> None:
        """All is stored already."""

    def resize(self, size: int) -> None:
        self._image.resize(size)

    def note(self, key: str) -> str:
        return self._image.notes.get(key, "")

    def set_note(self, key: str, value: str) -> None:
        self._image.notes[key] = value

    @property
    def _content(self) -> bytes:
        return self._moment if self._snapshot else self._image.content
