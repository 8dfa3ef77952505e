"""Which pool or volume a path names."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.errors import NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import ImageSnapshot, Pool, Volume
from pvc_core.ops.volume_snapshot import find_volume_snapshot


def find_pool(name: str) -> Callable[[ClusterSnapshot], Pool]:
    """A look for ``pvc_web.api.lookup.find``."""

    def look(snapshot: ClusterSnapshot) -> Pool:
        pool = snapshot.pools.get(name)
        if pool is None:
            raise NotFound(f"there is no pool {name!r}")
        return pool

    return look


def find_volume(pool: str, name: str) -> Callable[[ClusterSnapshot], Volume]:
    """A look for ``pvc_web.api.lookup.find``."""

    def look(snapshot: ClusterSnapshot) -> Volume:
        find_pool(pool)(snapshot)
        volume = snapshot.volumes.get(f"{pool}/{name}")
        if volume is None:
            raise NotFound(f"there is no volume {name!r} in pool {pool}")
        return volume

    return look


def find_snapshot(pool: str, volume: str, name: str) -> Callable[[ClusterSnapshot], tuple[Volume, ImageSnapshot]]:
    """A look for ``pvc_web.api.lookup.find``."""

    def look(snapshot: ClusterSnapshot) -> tuple[Volume, ImageSnapshot]:
        found = find_volume(pool, volume)(snapshot)
        return found, find_volume_snapshot(snapshot, found.full_name, name)

    return look
