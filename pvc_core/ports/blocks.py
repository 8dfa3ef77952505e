"""Ceph: pools, images and their snapshots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pvc_core.model.storage import PoolStats, StorageStatus, Volume


@dataclass(frozen=True, slots=True)
class Locker:
    """A client that holds a lock of an image."""

    client: str  # such as ``client.4123``
    host: str  # its IP address


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of an image, in bytes. ``data`` is False where it holds nothing but zeros."""

    offset: int
    length: int
    data: bool


class BlockImage(Protocol):
    """One opened image, or one of its snapshots. Used by one thread."""

    @property
    def size(self) -> int: ...

    def extents(self, since: str = "", start: int = 0) -> Iterator[Extent]:
        """What differs from the snapshot ``since`` of the same image, from the byte ``start`` on, in ascending order
        and without overlap; from an empty image when ``since`` is empty (then only stretches with data). Raises
        NotFound when there is no such snapshot."""
        ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None:
        """Begin to write. Waits only while too much is under way; an error may be raised by a later call."""
        ...

    def zero(self, offset: int, length: int) -> None:
        """The same for zeros, whose space is given back."""
        ...

    def flush(self) -> None:
        """Return once all that was written before is safely stored. Raises what went wrong with any of it."""
        ...

    def resize(self, size: int) -> None: ...

    def note(self, key: str) -> str:
        """A remark kept with the image, empty when there is none."""
        ...

    def set_note(self, key: str, value: str) -> None:
        """Keep a remark with the image; an empty one is removed."""
        ...


class BlockStore(Protocol):
    """RBD images and their pools (Ceph)."""

    def create_pool(self, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
        """Create a pool for RBD and wait until its placement groups are active."""
        ...

    def set_pool_pgs(self, name: str, pgs: int) -> None: ...

    def set_pool_replication(self, name: str, replicas: int, min_replicas: int) -> None:
        """Change how many copies are kept of each object, and how many must be there to write. Ceph makes or drops
        copies on its own from then on."""
        ...

    def remove_pool(self, name: str) -> None:
        """Remove a pool with all that is in it."""
        ...

    def pools(self) -> dict[str, PoolStats]: ...

    def create(self, pool: str, name: str, size: int) -> Volume:
        """Create an image of ``size`` bytes. Conflict when the name is taken, NotFound when the pool is not there."""
        ...

    def remove(self, pool: str, name: str) -> None:
        """Remove an image. NotFound; Conflict when it is in use or has snapshots."""
        ...

    def resize(self, pool: str, name: str, size: int) -> Volume: ...

    def rename(self, pool: str, name: str, new_name: str) -> Volume: ...

    def clone(
        self, pool: str, name: str, new_name: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Volume:
        """Copy an image into a new, independent one, keeping holes; ``progress(done, total)`` in bytes."""
        ...

    def exists(self, pool: str, name: str) -> bool:
        """Whether there is an image of that name. What a client left that died while it made, renamed or removed one is
        none: its name is free. Raises NotFound when the pool is not there."""
        ...

    def inspect(self, pool: str, name: str) -> Volume: ...

    def create_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        """Snapshot an image as it is now, also while it is in use. Conflict when the name is taken."""
        ...

    def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        """NotFound; Conflict when it is protected."""
        ...

    def rename_snapshot(self, pool: str, name: str, snapshot: str, new_name: str) -> None: ...

    def protect_snapshot(self, pool: str, name: str, snapshot: str, protected: bool) -> None:
        """Keep a snapshot from being removed, or no longer; nothing when it is so already."""
        ...

    def rollback(self, pool: str, name: str, snapshot: str, progress: Callable[[int, int], None]) -> None:
        """Make an image what it was at a snapshot, its size included; ``progress(done, total)``. Conflict when it is in
        use. What breaks off may be begun again."""
        ...

    def open(
        self, pool: str, name: str, *, snapshot: str = "", writable: bool = False
    ) -> AbstractContextManager[BlockImage]:
        """The image, or one of its snapshots, to be read; or the image to be written. Leaving the context flushes, and
        raises Conflict when a snapshot that was read from or compared with was removed meanwhile: what was read since
        is not to be trusted."""
        ...

    def image_size(self, path: Path, image_format: str) -> int:
        """Bytes of the disk in an image file. Raises BadRequest when it is not of that format, or needs other files."""
        ...

    def import_image(
        self,
        path: Path,
        image_format: str,
        pool: str,
        name: str,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Write the content of an image file (raw, qcow2, vmdk, vdi, vpc, qed) into an existing image that is large
        enough."""
        ...

    def lockers(self, pool: str, name: str) -> list[Locker]:
        """Who holds a lock of the image."""
        ...

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        """Break the locks of the image that clients at these hosts (IP addresses; None: all) have, and shut those
        clients out; answers how many there were."""
        ...

    def shut_out(self, hosts: Collection[str]) -> None:
        """Have Ceph refuse everything that any process at these hosts (IP addresses) sends, now or later, until they
        are let in again, and mark the OSDs that live there down, so that none of them serves such a process from an
        older map. Returns once the map with it is in force for whoever opens an image after this. Nothing changes for
        hosts that are shut out already. Raises BadRequest for what is no address, and without any; Conflict for this
        client's own."""
        ...

    def readmit(self, hosts: Collection[str]) -> None:
        """Take these hosts off the list; no error when they are not on it. Clients shut out one by one stay out."""
        ...

    def shut_out_hosts(self) -> set[str]:
        """The hosts that are wholly shut out now, each address in its shortest form."""
        ...

    def drop_silent_osds(self, hosts: Collection[str]) -> list[int]:
        """Mark the OSDs down at these hosts (IP addresses) that take no connection from here, so that nobody waits for
        them until Ceph has missed them; their ids. One that lives after all comes up again by itself."""
        ...

    def watchers(self, pool: str, name: str) -> list[str]:
        """Addresses of the clients that have the image open."""
        ...

    def map(self, pool: str, name: str) -> AbstractContextManager[Path]:
        """The image as a block device of this machine, for as long as the context lasts."""
        ...

    def status(self, now: float) -> StorageStatus: ...

    def close(self) -> None: ...
