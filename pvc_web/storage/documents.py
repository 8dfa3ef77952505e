"""Pools and volumes as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import ImageSnapshot, Pool, PoolStats, Volume
from pvc_core.ops.snapshot_steps import vm_snapshots_of_volume
from pvc_web.api.schema import Document

_IMAGE_FORMAT = 2  # RBD's own; format 1 has long been gone


class PoolDocument(Document):
    """A pool of Ceph for volumes."""

    name: str
    volume_count: int
    tier: Annotated[str, Meta(description="Device class, or default for any")]
    pgs: int
    replcfg: Annotated[str, Meta(description="Copies of each object, and how many must be there to write")]
    stats: PoolStats


class VolumeStatsDocument(Document):
    """What Ceph knows of the image behind a volume."""

    name: str
    id: str
    size: Annotated[str, Meta(description="For people, with a suffix that counts in powers of 1024")]
    objects: int
    order: int
    object_size: Annotated[int, Meta(description="Bytes")]
    snapshot_count: int
    block_name_prefix: str
    format: int
    features: tuple[str, ...]
    op_features: tuple[str, ...]
    flags: tuple[str, ...]
    create_timestamp: str
    access_timestamp: str
    modify_timestamp: str


class VolumeDocument(Document):
    """A volume: the disk of a machine."""

    name: str
    pool: str
    stats: VolumeStatsDocument


class SnapshotDocument(Document):
    """A snapshot of one volume."""

    pool: str
    volume: str
    snapshot: str
    size: Annotated[str, Meta(description="Of the volume then; for people, in powers of 1024")]
    timestamp: datetime
    protected: bool
    vm: Annotated[str, Meta(description="The machine whose snapshot it is part of; empty: it stands alone")]


class CephDocument(Document):
    """Text of a command of Ceph."""

    type: str
    primary_node: str
    ceph_data: str


def human_size(size: int) -> str:
    """``size`` bytes in the smallest unit that needs no more than four digits, rounded up: 4 GiB is ``4096M``."""
    units = "BKMGTPE"
    power = 0
    while power < len(units) - 1 and -(-size >> 10 * power) > 9999:
        power += 1
    return f"{-(-size >> 10 * power)}{units[power]}"


def pool_document(pool: Pool, snapshot: ClusterSnapshot) -> PoolDocument:
    stats = snapshot.storage.pools.get(pool.name) if snapshot.storage else None
    volumes = sum(volume.pool == pool.name for volume in snapshot.volumes.values())
    return PoolDocument(
        name=pool.name,
        volume_count=volumes,
        tier=pool.tier,
        pgs=pool.pgs,
        replcfg=f"copies={pool.replicas},mincopies={pool.min_replicas}",
        stats=stats or PoolStats(),
    )


def volume_document(volume: Volume) -> VolumeDocument:
    stats = VolumeStatsDocument.of(volume, size=human_size(volume.size), format=_IMAGE_FORMAT)
    return VolumeDocument(name=volume.name, pool=volume.pool, stats=stats)


def snapshot_document(volume: Volume, found: ImageSnapshot, snapshot: ClusterSnapshot) -> SnapshotDocument:
    owners = [taken.vm for taken in vm_snapshots_of_volume(snapshot, volume.full_name) if taken.name == found.name]
    return SnapshotDocument(
        pool=volume.pool,
        volume=volume.name,
        snapshot=found.name,
        size=human_size(found.size),
        timestamp=datetime.fromtimestamp(found.created, UTC),
        protected=found.protected,
        vm=snapshot.vms[owners[0]].vm.name if owners and owners[0] in snapshot.vms else "".join(owners[:1]),
    )
