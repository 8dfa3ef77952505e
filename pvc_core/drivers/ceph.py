"""RBD images and pools, through Ceph's own bindings (rados and rbd)."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import rados
import rbd

from pvc_core.config import CephConfig
from pvc_core.drivers import ceph_fencing, qemu_img
from pvc_core.drivers.ceph_connection import CephConnection, translated
from pvc_core.drivers.ceph_fencing import host_of
from pvc_core.drivers.ceph_map import mapped
from pvc_core.errors import Conflict, DriverUnavailable, NotFound
from pvc_core.model.address import plain
from pvc_core.model.storage import PoolStats, StorageStatus, Volume
from pvc_core.ports import Locker

log = logging.getLogger(__name__)

POOL_TIMEOUT = 120.0  # seconds for the placement groups of a new pool to become active
POOL_POLL = 0.2
MOMENT_PREFIX = "pvc-copy-"  # of the names of snapshots that live as long as a copy

# Names as ``rbd info`` shows them.
FEATURES = {
    rbd.RBD_FEATURE_LAYERING: "layering",
    rbd.RBD_FEATURE_STRIPINGV2: "striping",
    rbd.RBD_FEATURE_EXCLUSIVE_LOCK: "exclusive-lock",
    rbd.RBD_FEATURE_OBJECT_MAP: "object-map",
    rbd.RBD_FEATURE_FAST_DIFF: "fast-diff",
    rbd.RBD_FEATURE_DEEP_FLATTEN: "deep-flatten",
    rbd.RBD_FEATURE_JOURNALING: "journaling",
    rbd.RBD_FEATURE_DATA_POOL: "data-pool",
    rbd.RBD_FEATURE_OPERATIONS: "operations",
    rbd.RBD_FEATURE_MIGRATING: "migrating",
    rbd.RBD_FEATURE_NON_PRIMARY: "non-primary",
}
OPERATION_FEATURES = {
    rbd.RBD_OPERATION_FEATURE_CLONE_PARENT: "clone-parent",
    rbd.RBD_OPERATION_FEATURE_CLONE_CHILD: "clone-child",
    rbd.RBD_OPERATION_FEATURE_GROUP: "group",
    rbd.RBD_OPERATION_FEATURE_SNAP_TRASH: "snap-trash",
}
FLAGS = {
    rbd.RBD_FLAG_OBJECT_MAP_INVALID: "object map invalid",
    rbd.RBD_FLAG_FAST_DIFF_INVALID: "fast diff invalid",
}


class CephBlockStore:
    """Connects at the first call. Calls from several threads go side by side."""

    def __init__(self, config: CephConfig) -> None:
        self._config = config
        self._ceph = CephConnection(config)
        self._rbd = rbd.RBD()

    def create_pool(self, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
        if self._ceph.pool_exists(name):
            raise Conflict(f"pool {name} exists already in Ceph")
        rule = {} if tier == "default" else {"rule": self._tier_rule(tier)}
        # The number of placement groups is the administrator's choice, so Ceph must not change it on its own.
        self._ceph.command(
            "osd pool create",
            pool=name,
            pool_type="replicated",
            pg_num=pgs,
            pgp_num=pgs,
            size=replicas,
            autoscale_mode="off",
            **rule,
        )
        try:
            self._ceph.command("osd pool set", pool=name, var="min_size", val=str(min_replicas))
            self._wait_active(name, pgs)
            with self._ceph.pool(name) as context, translated(f"pool {name}"):
                self._rbd.pool_init(context, True)
        except BaseException:
            self.remove_pool(name)
            raise

    def set_pool_pgs(self, name: str, pgs: int) -> None:
        self._ceph.command("osd pool set", pool=name, var="pg_num", val=str(pgs))

    def remove_pool(self, name: str) -> None:
        if not self._ceph.pool_exists(name):
            raise NotFound(f"pool {name} does not exist in Ceph")
        self._ceph.command("osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)
        self._ceph.wait_for_map()  # without it this client would find the pool for a moment longer

    def pools(self) -> dict[str, PoolStats]:
        rows = self._ceph.command("df", detail="detail")["pools"]
        found = {}
        for row in rows:
            with suppress(NotFound), self._ceph.pool(row["name"]) as context:
                found[row["name"]] = _pool_stats(row, context)
        return found

    def create(self, pool: str, name: str, size: int) -> Volume:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            self._rbd.create(context, name, size)
        return self.inspect(pool, name)

    def remove(self, pool: str, name: str) -> None:
        self._refuse_watched(pool, name)
        self._forget_moments(pool, name)
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            self._rbd.remove(context, name)

    def resize(self, pool: str, name: str, size: int) -> Volume:
        with self._image(pool, name, read_only=False) as image:
            image.resize(size)
        return self.inspect(pool, name)

    def rename(self, pool: str, name: str, new_name: str) -> Volume:
        self._refuse_watched(pool, name)
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{new_name}"):
            self._rbd.rename(context, name, new_name)
        return self.inspect(pool, new_name)

    def clone(
        self, pool: str, name: str, new_name: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Volume:
        with self._moment(pool, name) as snapshot:
            size = self.inspect(pool, name).size
            self.create(pool, new_name, size)
            try:
                source = self._options(pool, name, snapshot=snapshot)
                self._copy(source, self._options(pool, new_name), size, progress, cancelled)
            except BaseException:
                self.remove(pool, new_name)
                raise
        return self.inspect(pool, new_name)

    def volumes(self, pool: str) -> list[str]:
        with self._ceph.pool(pool) as context, translated(f"pool {pool}"):
            return sorted(self._rbd.list(context))

    def inspect(self, pool: str, name: str) -> Volume:
        with self._image(pool, name) as image:
            stat = image.stat()
            return Volume(
                pool=pool,
                name=name,
                size=stat["size"],
                id=image.id(),
                object_size=stat["obj_size"],
                order=stat["order"],
                block_name_prefix=stat["block_name_prefix"],
                features=_names(FEATURES, image.features()),
                flags=_names(FLAGS, image.flags()),
                op_features=_names(OPERATION_FEATURES, image.op_features()),
                snapshot_count=sum(not name.startswith(MOMENT_PREFIX) for name in _snapshots(image)),
                create_timestamp=_date(image.create_timestamp()),
                access_timestamp=_date(image.access_timestamp()),
                modify_timestamp=_date(image.modify_timestamp()),
            )

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
        with self._image(pool, name) as image:
            return [Locker(client, host_of(address)) for client, _cookie, address in _lockers(image)]

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        wanted = None if hosts is None else {plain(host) for host in hosts}
        with self._image(pool, name) as image:
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

    def watchers(self, pool: str, name: str) -> list[str]:
        with self._image(pool, name) as image:
            return [str(watcher["addr"]) for watcher in image.watchers_list()]

    def map(self, pool: str, name: str) -> AbstractContextManager[Path]:
        self.inspect(pool, name)
        return mapped(self._ceph, pool, name)

    def status(self, now: float) -> StorageStatus:
        status = self._ceph.command("status")
        totals = self._ceph.command("df")["stats"]
        osds = self._ceph.command("osd dump")["osds"]
        health = status["health"]
        # Without an active manager this command would wait until there is one.
        utilization = self._ceph.text("osd df", manager=True) if status["mgrmap"]["available"] else ""
        return StorageStatus(
            time=now,
            health=health["status"],
            health_messages=tuple(
                f"{code}: {check['summary']['message']}" for code, check in sorted(health["checks"].items())
            ),
            osd_states=dict(Counter(_osd_state(osd) for osd in osds)),
            total_kb=totals["total_bytes"] // 1024,
            used_kb=totals["total_used_raw_bytes"] // 1024,
            free_kb=totals["total_avail_bytes"] // 1024,
            pools=self.pools(),
            status_text=self._ceph.text("status"),
            utilization_text=utilization,
        )

    def close(self) -> None:
        self._ceph.close()

    @contextmanager
    def _image(self, pool: str, name: str, *, read_only: bool = True) -> Iterator[rbd.Image]:
        with self._ceph.pool(pool) as context, translated(f"volume {pool}/{name}"):
            image = rbd.Image(context, name, read_only=read_only)
            try:
                yield image
            finally:
                image.close()

    @contextmanager
    def _moment(self, pool: str, name: str) -> Iterator[str]:
        """A snapshot of the image for as long as the context lasts, so that a copy is of one moment."""
        self._forget_moments(pool, name)
        snapshot = f"{MOMENT_PREFIX}{uuid.uuid4()}"
        with self._image(pool, name, read_only=False) as image:
            image.create_snap(snapshot)
        try:
            yield snapshot
        finally:
            with self._image(pool, name, read_only=False) as image:
                image.remove_snap(snapshot)

    def _forget_moments(self, pool: str, name: str) -> None:
        """Remove the snapshots that copies left behind which were killed. No copy is under way: its task would hold the
        lock of the volume."""
        with self._image(pool, name) as image:
            left = [name for name in _snapshots(image) if name.startswith(MOMENT_PREFIX)]
        if left:
            with self._image(pool, name, read_only=False) as image:
                for snapshot in left:
                    image.remove_snap(snapshot)

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

    def _tier_rule(self, tier: str) -> str:
        """Name of the placement rule for a device class, made when it is missing."""
        rule = f"{tier}_tier"
        if rule not in self._ceph.command("osd crush rule ls"):
            # A cluster that may keep copies on one host says so in this option.
            domain = "osd" if self._ceph.option("osd_crush_chooseleaf_type") == "0" else "host"
            arguments = {"name": rule, "root": "default", "type": domain, "class": tier}
            self._ceph.command("osd crush rule create-replicated", **arguments)
        return rule

    def _wait_active(self, pool: str, pgs: int) -> None:
        deadline = time.monotonic() + POOL_TIMEOUT
        while (active := self._active(pool)) < pgs:
            if time.monotonic() > deadline:
                raise DriverUnavailable(
                    f"Ceph: only {active} of the {pgs} placement groups of pool {pool} became active within "
                    f"{POOL_TIMEOUT:g} s"
                )
            time.sleep(POOL_POLL)

    def _active(self, pool: str) -> int:
        groups = self._ceph.manager_command("pg ls-by-pool", poolstr=pool)["pg_stats"]
        return sum("active" in group["state"].split("+") for group in groups)


def _pool_stats(row: dict[str, object], context: rados.Ioctx) -> PoolStats:
    stats, counts = row["stats"], context.get_stats()
    assert isinstance(stats, dict)
    return PoolStats(
        id=context.get_pool_id(),
        stored_bytes=stats["stored"],
        free_bytes=stats["max_avail"],
        used_bytes=stats["bytes_used"],
        used_percent=100 * stats["percent_used"],
        num_objects=counts["num_objects"],
        num_object_clones=counts["num_object_clones"],
        num_object_copies=counts["num_object_copies"],
        num_objects_missing_on_primary=counts["num_objects_missing_on_primary"],
        num_objects_unfound=counts["num_objects_unfound"],
        num_objects_degraded=counts["num_objects_degraded"],
        read_ops=stats["rd"],
        read_bytes=stats["rd_bytes"],
        write_ops=stats["wr"],
        write_bytes=stats["wr_bytes"],
    )


def _lockers(image: rbd.Image) -> list[tuple[str, str, str]]:
    found = image.list_lockers()
    return found["lockers"] if found else []


def _snapshots(image: rbd.Image) -> list[str]:
    return [snapshot["name"] for snapshot in image.list_snaps()]


def _names(table: dict[int, str], bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in table.items() if bits & bit)


def _date(moment: datetime) -> str:
    """As ``rbd info`` prints it."""
    return moment.strftime("%a %b %e %H:%M:%S %Y")


def _osd_state(osd: dict[str, int]) -> str:
    return f"{'up' if osd['up'] else 'down'},{'in' if osd['in'] else 'out'}"
