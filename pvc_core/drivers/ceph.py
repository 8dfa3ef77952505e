"""RBD images and pools, through Ceph's own bindings (rados and rbd)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import rbd

from pvc_core.config import CephConfig
from pvc_core.drivers import ceph_fencing, ceph_names, ceph_pools, ceph_snapshots, qemu_img
from pvc_core.drivers.ceph_connection import CephConnection, translated
from pvc_core.drivers.ceph_fencing import host_of
from pvc_core.drivers.ceph_image import open_image, opened
from pvc_core.drivers.ceph_map import mapped
from pvc_core.drivers.ceph_osds import osd_stats
from pvc_core.drivers.ceph_volume import describe
from pvc_core.errors import Conflict, NotFound
from pvc_core.model.address import plain
from pvc_core.model.storage import PoolStats, StorageStatus, Volume
from pvc_core.ports import BlockImage, Locker


class CephBlockStore:
    """Connects at the first call. Calls from several threads go side by side."""

    def __init__(self, config: CephConfig) -> None:
        self._config = config
        self._ceph = CephConnection(config)
        self._rbd = rbd.RBD()

    def create_pool(self, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
        ceph_pools.create(self._ceph, name, pgs, replicas, min_replicas, tier)

    def set_pool_pgs(self, name: str, pgs: int) -> None:
        ceph_pools.set_pgs(self._ceph, name, pgs)

    def set_pool_replication(self, name: str, replicas: int, min_replicas: int) -> None:
        ceph_pools.set_replication(self._ceph, name, replicas, min_replicas)

    def remove_pool(self, name: str) -> None:
        ceph_pools.remove(self._ceph, name)

    def pools(self) -> dict[str, PoolStats]:
        return ceph_pools.stats(self._ceph)

    def create(self, pool: str, name: str, size: int) -> Volume:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            ceph_names.clear(context, name)
            self._rbd.create(context, name, size)
        return self.inspect(pool, name)

    def remove(self, pool: str, name: str) -> None:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            ceph_names.clear(context, name)
        self._refuse_watched(pool, name)
        ceph_snapshots.forget_moments(self._ceph, pool, name)
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            self._rbd.remove(context, name)

    def resize(self, pool: str, name: str, size: int) -> Volume:
        with opened(self._ceph, pool, name, read_only=False) as image:
            image.resize(size)
        return self.inspect(pool, name)

    def rename(self, pool: str, name: str, new_name: str) -> Volume:
        self._refuse_watched(pool, name)
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{new_name}"):
            ceph_names.clear(context, new_name)
            self._rbd.rename(context, name, new_name)
        return self.inspect(pool, new_name)

    def clone(
        self, pool: str, name: str, new_name: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Volume:
        with ceph_snapshots.moment(self._ceph, pool, name) as snapshot:
            size = self.inspect(pool, name).size
            self.create(pool, new_name, size)
            try:
                source = self._options(pool, name, snapshot=snapshot)
                self._copy(source, self._options(pool, new_name), size, progress, cancelled)
            except BaseException:
                self.remove(pool, new_name)
                raise
        return self.inspect(pool, new_name)

    def exists(self, pool: str, name: str) -> bool:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            return ceph_names.is_taken(context, name)

    def inspect(self, pool: str, name: str) -> Volume:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            if not ceph_names.is_listed(context, name):  # an old name may still open it, and would be taken for another
                raise NotFound(f"volume {pool}/{name} does not exist in Ceph")
        with opened(self._ceph, pool, name) as image:
            return describe(pool, name, image)

    def create_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        ceph_snapshots.create(self._ceph, pool, name, snapshot)

    def remove_snapshot(self, pool: str, name: str, snapshot: str) -> None:
        ceph_snapshots.remove(self._ceph, pool, name, snapshot)

    def rename_snapshot(self, pool: str, name: str, snapshot: str, new_name: str) -> None:
        ceph_snapshots.rename(self._ceph, pool, name, snapshot, new_name)

    def protect_snapshot(self, pool: str, name: str, snapshot: str, protected: bool) -> None:
        ceph_snapshots.protect(self._ceph, pool, name, snapshot, protected)

    def rollback(self, pool: str, name: str, snapshot: str, progress: Callable[[int, int], None]) -> None:
        self._refuse_watched(pool, name)
        ceph_snapshots.rollback(self._ceph, pool, name, snapshot, progress)

    def open(
        self, pool: str, name: str, *, snapshot: str = "", writable: bool = False
    ) -> AbstractContextManager[BlockImage]:
        return open_image(self._ceph, pool, name, snapshot=snapshot, writable=writable)

    def image_size(self, path: Path, image_format: str) -> int:
        return qemu_img.virtual_size(path, image_format)

    def import_image(
        self,
        path: Path,
        image_format: str,
        pool: str,
        name: str,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        size = qemu_img.virtual_size(path, image_format)
        room = self.inspect(pool, name).size
        if size > room:
            raise Conflict(f"{path.name} holds a disk of {size} bytes, and volume {pool}/{name} has only {room}")
        source = qemu_img.file_options(path, image_format)
        self._copy(source, self._options(pool, name), size, progress, cancelled)

    def lockers(self, pool: str, name: str) -> list[Locker]:
        with opened(self._ceph, pool, name) as image:
            return [Locker(client, host_of(address)) for client, _cookie, address in _lockers(image)]

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        wanted = None if hosts is None else {plain(host) for host in hosts}
        self._ceph.wait_for_map()  # or the first request may go to an OSD that died with the locks' owner
        with opened(self._ceph, pool, name) as image:
            held = [lock for lock in _lockers(image) if wanted is None or host_of(lock[2]) in wanted]
            for client, cookie, _address in held:
                with suppress(rbd.ImageNotFound):  # somebody else broke this lock, or it was given back
                    image.break_lock(client, cookie)  # librbd blocklists the client first
            return len(held)

    def shut_out(self, hosts: Collection[str]) -> None:
        ceph_fencing.shut_out(self._ceph, hosts)

    def readmit(self, hosts: Collection[str]) -> None:
        ceph_fencing.readmit(self._ceph, hosts)

    def shut_out_hosts(self) -> set[str]:
        return ceph_fencing.shut_out_hosts(self._ceph)

    def drop_silent_osds(self, hosts: Collection[str]) -> list[int]:
        return ceph_fencing.drop_silent_osds(self._ceph, hosts)

    def watchers(self, pool: str, name: str) -> list[str]:
        with opened(self._ceph, pool, name) as image:
            return [str(watcher["addr"]) for watcher in image.watchers_list()]

    def map(self, pool: str, name: str) -> AbstractContextManager[Path]:
        self.inspect(pool, name)
        return mapped(self._ceph, pool, name)

    def status(self, now: float) -> StorageStatus:
        status = self._ceph.command("status")
        totals = self._ceph.command("df")["stats"]
        osds = osd_stats(self._ceph)
        health = status["health"]
        # Without an active manager this command would wait until there is one.
        utilization = self._ceph.text("osd df", manager=True) if status["mgrmap"]["available"] else ""
        return StorageStatus(
            time=now,
            health=health["status"],
            health_messages=tuple(
                f"{code}: {check['summary']['message']}" for code, check in sorted(health["checks"].items())
            ),
            osd_states=dict(Counter(osd.state for osd in osds.values())),
            osds=osds,
            total_kb=totals["total_bytes"] // 1024,
            used_kb=totals["total_used_raw_bytes"] // 1024,
            free_kb=totals["total_avail_bytes"] // 1024,
            pools=self.pools(),
            status_text=self._ceph.text("status"),
            utilization_text=utilization,
            fsid=status["fsid"],
            metrics_url=status["mgrmap"].get("services", {}).get("prometheus", ""),
        )

    def close(self) -> None:
        self._ceph.close()

    def _copy(
        self,
        source: str,
        target: str,
        total: int,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        qemu_img.convert(source, target, total, progress, cancelled, self._ceph.environment())

    def _options(self, pool: str, name: str, **more: str) -> str:
        """The image in QEMU's notation."""
        config = self._config
        return qemu_img.options("rbd", pool=pool, image=name, conf=config.config_file, user=config.user, **more)

    def _refuse_watched(self, pool: str, name: str) -> None:
        if watchers := self.watchers(pool, name):
            raise Conflict(f"volume {pool}/{name} is in use by {', '.join(watchers)}")


def _lockers(image: rbd.Image) -> list[tuple[str, str, str]]:
    found = image.list_lockers()
    return found["lockers"] if found else []
