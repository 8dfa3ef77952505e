"""Ceph's pools and images in memory."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from pvc_core.errors import BadRequest, Cancelled, Conflict, DriverUnavailable, NotFound
from pvc_core.fakes.block_image import FakeBlockImage, FakeImage
from pvc_core.model.address import plain
from pvc_core.model.storage import ImageSnapshot, PoolStats, StorageStatus, Volume
from pvc_core.ports import BlockImage, Locker

OBJECT_SIZE = 4 * 1024 * 1024
COPY_STEPS = 4  # looks at ``cancelled`` during one copy


@dataclass
class FakePool:
    id: int
    pgs: int
    replicas: int
    min_replicas: int
    tier: str
    images: dict[str, FakeImage] = field(default_factory=dict)


class FakeBlocks:
    """A test sets ``unavailable``, gives an image ``lockers`` and ``watchers`` through ``image``, and writes as the
    process of some node does by ``write``. ``host`` is the address of whoever uses this object, who cannot shut himself
    out."""

    def __init__(
        self,
        capacity: int = 1024**4,
        host: str = "",
        now: Callable[[], float] = time.time,
        fsid: str = "11111111-1111-1111-1111-111111111111",
    ) -> None:
        self.capacity = capacity
        self.fsid = fsid
        self._now = now
        self._host = host
        self._hosts_out: set[str] = set()
        self._clients_out: set[str] = set()
        self.pool_records: dict[str, FakePool] = {}
        self.unavailable = False
        self._ids = 0
        self._lock = threading.RLock()

    def image(self, pool: str, name: str) -> FakeImage:
        """Raises NotFound."""
        images = self._pool(pool).images
        if name not in images:
            raise NotFound(f"volume {pool}/{name} does not exist in Ceph")
        return images[name]

    def create_pool(self, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
        with self._lock:
            self._answer()
            if name in self.pool_records:
                raise Conflict(f"pool {name} exists already in Ceph")
            self.pool_records[name] = FakePool(self._new_id(), pgs, replicas, min_replicas, tier)

    def set_pool_pgs(self, name: str, pgs: int) -> None:
        with self._lock:
            self._pool(name).pgs = pgs

    def set_pool_replication(self, name: str, replicas: int, min_replicas: int) -> None:
        with self._lock:
            pool = self._pool(name)
            pool.replicas, pool.min_replicas = replicas, min_replicas

    def remove_pool(self, name: str) -> None:
        with self._lock:
            self._pool(name)
            del self.pool_records[name]

    def pools(self) -> dict[str, PoolStats]:
        with self._lock:
            self._answer()
            used = sum(self._used(pool) for pool in self.pool_records.values())
            return {name: self._stats(pool, used) for name, pool in self.pool_records.items()}

    def create(self, pool: str, name: str, size: int) -> Volume:
        with self._lock:
            images = self._pool(pool).images
            self._refuse_taken(pool, name)
            identity = f"{self._new_id():x}"
            volume = Volume(
                pool=pool,
                name=name,
                size=size,
                id=identity,
                block_name_prefix=f"rbd_data.{identity}",
                features=("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"),
            )
            images[name] = FakeImage(volume)
            return volume

    def remove(self, pool: str, name: str) -> None:
        with self._lock:
            self._refuse_in_use(pool, name)
            if self.image(pool, name).volume.snapshots:
                raise Conflict(f"volume {pool}/{name} has snapshots")
            del self._pool(pool).images[name]

    def resize(self, pool: str, name: str, size: int) -> Volume:
        with self._lock:
            image = self.image(pool, name)
            image.resize(size)
            return image.volume

    def rename(self, pool: str, name: str, new_name: str) -> Volume:
        with self._lock:
            self._refuse_in_use(pool, name)
            self._refuse_taken(pool, new_name)
            images = self._pool(pool).images
            image = images[new_name] = images.pop(name)
            image.volume = replace(image.volume, name=new_name)
            return image.volume

    def clone(
        self, pool: str, name: str, new_name: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Volume:
        source = self.image(pool, name)
        volume = self.create(pool, new_name, source.volume.size)
        try:
            _copy(source.volume.size, progress, cancelled)
        except Cancelled:
            self.remove(pool, new_name)
            raise
        self.image(pool, new_name).content = source.content
        return volume

    def exists(self, pool: str, name: str) -> bool:
        return name in self.volumes(pool)

    def volumes(self, pool: str) -> list[str]:
        with self._lock:
            return sorted(self._pool(pool).images)

    def inspect(self, pool: str, name: str) -> Volume:
        with self._lock:
            return self.image(pool, name).volume

    def create_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        with self._lock:
            image = self.image(pool, name)
            if snapshot in image.moments:
                raise Conflict(f"snapshot {pool}/{name}@{snapshot} exists already in Ceph")
            image.moments[snapshot] = image.content
            made = ImageSnapshot(snapshot, image.volume.size, self._now())
            image.volume = replace(image.volume, snapshots=(*image.volume.snapshots, made))

    def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        with self._lock:
            image = self.image(pool, name)
            if image.snapshot(snapshot).protected:
                raise Conflict(f"snapshot {pool}/{name}@{snapshot} is protected")
            image.set_snapshot(snapshot, None)
            del image.moments[snapshot]

    def rename_snapshot(self, pool: str, name: str, snapshot: str, new_name: str) -> None:
        with self._lock:
            image = self.image(pool, name)
            found = image.snapshot(snapshot)
            if new_name in image.moments:
                raise Conflict(f"snapshot {pool}/{name}@{new_name} exists already in Ceph")
            image.set_snapshot(snapshot, replace(found, name=new_name))
            image.moments[new_name] = image.moments.pop(snapshot)

    def protect_snapshot(self, pool: str, name: str, snapshot: str, protected: bool) -> None:
        with self._lock:
            image = self.image(pool, name)
            image.set_snapshot(snapshot, replace(image.snapshot(snapshot), protected=protected))

    def rollback(self, pool: str, name: str, snapshot: str, progress: Callable[[int, int], None]) -> None:
        with self._lock:
            self._refuse_in_use(pool, name)
            image = self.image(pool, name)
            size = image.snapshot(snapshot).size
            image.resize(size)
            image.content = image.moments[snapshot]
        progress(size, size)

    @contextmanager
    def open(self, pool: str, name: str, *, snapshot: str = "", writable: bool = False) -> Iterator[BlockImage]:
        with self._lock:
            image = self.image(pool, name)
            opened = FakeBlockImage(image, snapshot, writable)
        with self._watched(image) if writable else nullcontext():
            yield opened
        for name in opened.needed - image.moments.keys():
            raise Conflict(f"snapshot {image.volume.full_name}@{name} was removed while it was read")

    def image_size(self, path: Path, image_format: str) -> int:
        """The file's own size, whatever the format."""
        return path.stat().st_size

    def import_image(
        self,
        path: Path,
        image_format: str,
        pool: str,
        name: str,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Takes the file's bytes as they are, whatever the format."""
        image = self.image(pool, name)
        content = path.read_bytes()
        if len(content) > image.volume.size:
            raise Conflict(f"{path} holds {len(content)} bytes, and volume {pool}/{name} only {image.volume.size}")
        _copy(len(content), progress, cancelled)
        image.content = content.rstrip(b"\0")

    def lockers(self, pool: str, name: str) -> list[Locker]:
        with self._lock:
            return list(self.image(pool, name).lockers)

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        wanted = None if hosts is None else {plain(host) for host in hosts}
        with self._lock:
            image = self.image(pool, name)
            broken = [locker for locker in image.lockers if wanted is None or plain(locker.host) in wanted]
            image.lockers[:] = [locker for locker in image.lockers if locker not in broken]
            self._clients_out |= {locker.client for locker in broken}
            return len(broken)

    def write(self, pool: str, name: str, client: Locker) -> bool:
        """Write as ``client``; the lock goes over to it, as RBD's exclusive lock goes to whoever writes. False when
        Ceph refuses it, and nothing is changed."""
        with self._lock:
            image = self.image(pool, name)
            if client.client in self._clients_out or plain(client.host) in self.shut_out_hosts():
                return False
            image.lockers[:] = [client]
            return True

    def shut_out(self, hosts: Collection[str]) -> None:
        wanted = {plain(host) for host in hosts}
        with self._lock:
            self._answer()
            if not wanted:
                raise BadRequest("no address is given that could be shut out")
            if self._host in wanted:
                raise Conflict(f"{self._host} is the address of this very client, which cannot shut itself out")
            self._hosts_out |= wanted

    def readmit(self, hosts: Collection[str]) -> None:
        with self._lock:
            self._answer()
            self._hosts_out -= {plain(host) for host in hosts}

    def shut_out_hosts(self) -> set[str]:
        with self._lock:
            self._answer()
            return set(self._hosts_out)

    def drop_silent_osds(self, hosts: Collection[str]) -> list[int]:
        with self._lock:
            self._answer()
            return []  # it has no OSDs

    def watchers(self, pool: str, name: str) -> list[str]:
        with self._lock:
            return list(self.image(pool, name).watchers)

    @contextmanager
    def map(self, pool: str, name: str) -> Iterator[Path]:
        """A file of the image's size, written back when the context ends."""
        image = self.image(pool, name)
        with self._watched(image), tempfile.NamedTemporaryFile(prefix="pvc-fake-rbd-") as file:
            file.write(image.content)
            file.truncate(image.volume.size)
            file.flush()
            yield Path(file.name)
            image.content = Path(file.name).read_bytes().rstrip(b"\0")

    def status(self, now: float) -> StorageStatus:
        with self._lock:
            pools = self.pools()
            used = sum(stats.used_bytes for stats in pools.values())
            return StorageStatus(
                time=now,
                health="HEALTH_OK",
                health_messages=(),
                osd_states={"up,in": 3},
                total_kb=self.capacity // 1024,
                used_kb=used // 1024,
                free_kb=(self.capacity - used) // 1024,
                pools=pools,
                status_text="health: HEALTH_OK",
                utilization_text="",
                fsid=self.fsid,
            )

    def close(self) -> None:
        """Nothing to give back."""

    @contextmanager
    def _watched(self, image: FakeImage) -> Iterator[None]:
        watcher = f"127.0.0.1:0/{self._new_id()}"
        image.watchers.append(watcher)
        try:
            yield
        finally:
            image.watchers.remove(watcher)

    def _pool(self, name: str) -> FakePool:
        self._answer()
        if name not in self.pool_records:
            raise NotFound(f"pool {name} does not exist in Ceph")
        return self.pool_records[name]

    def _refuse_taken(self, pool: str, name: str) -> None:
        if name in self._pool(pool).images:
            raise Conflict(f"volume {pool}/{name} exists already in Ceph")

    def _refuse_in_use(self, pool: str, name: str) -> None:
        image = self.image(pool, name)
        if image.watchers:
            raise Conflict(f"volume {pool}/{name} is in use by {', '.join(image.watchers)}")

    def _stats(self, pool: FakePool, used: int) -> PoolStats:
        stored = self._used(pool)
        free = (self.capacity - used) // pool.replicas
        objects = -(-stored // OBJECT_SIZE)
        return PoolStats(
            id=pool.id,
            stored_bytes=stored,
            free_bytes=free,
            used_bytes=stored * pool.replicas,
            used_percent=stored / (stored + free) if stored + free else 0.0,
            num_objects=objects,
            num_object_copies=objects * pool.replicas,
        )

    @staticmethod
    def _used(pool: FakePool) -> int:
        return sum(len(image.content) for image in pool.images.values())

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _answer(self) -> None:
        if self.unavailable:
            raise DriverUnavailable("Ceph does not answer")


def _copy(total: int, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> None:
    for step in range(COPY_STEPS + 1):
        progress(total * step // COPY_STEPS, total)
        if cancelled():
            raise Cancelled("the copy was cancelled")
