"""Pools and volumes, and what Ceph says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pool:
    name: str
    pgs: int
    tier: str = "default"  # device class, or ``default`` for any
    replicas: int = 3
    min_replicas: int = 2


@dataclass(frozen=True, slots=True)
class ImageSnapshot:
    """A snapshot of one image."""

    name: str
    size: int  # bytes
    created: float = 0.0  # seconds since the epoch
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """An RBD image and what is known of it; sizes in bytes. The image itself is Ceph's."""

    pool: str
    name: str
    size: int
    id: str = ""
    object_size: int = 4 * 1024 * 1024
    order: int = 22
    block_name_prefix: str = ""
    features: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    op_features: tuple[str, ...] = ()
    snapshots: tuple[ImageSnapshot, ...] = ()  # oldest first; those that live as long as a copy are left out
    create_timestamp: str = ""
    access_timestamp: str = ""
    modify_timestamp: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.pool}/{self.name}"

    @property
    def snapshot_count(self) -> int:
        return len(self.snapshots)

    @property
    def objects(self) -> int:
        return -(-self.size // self.object_size)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """As ``ceph df detail`` and ``rados df`` report them; bytes and counts."""

    id: int = 0
    stored_bytes: int = 0
    free_bytes: int = 0
    used_bytes: int = 0
    used_percent: float = 0.0  # from 0 to 1: the name is that of the documented API
    num_objects: int = 0
    num_object_clones: int = 0
    num_object_copies: int = 0
    num_objects_missing_on_primary: int = 0
    num_objects_unfound: int = 0
    num_objects_degraded: int = 0
    read_ops: int = 0
    read_bytes: int = 0
    write_ops: int = 0
    write_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """One picture of the storage cluster, taken by the primary."""

    time: float
    health: str  # HEALTH_OK, HEALTH_WARN, HEALTH_ERR
    health_messages: tuple[str, ...]
    osd_states: dict[str, int]  # "up,in" -> count
    total_kb: int
    used_kb: int
    free_kb: int
    pools: dict[str, PoolStats] = field(default_factory=dict)
    status_text: str = ""  # as ``ceph status`` prints it
    utilization_text: str = ""  # as ``ceph osd df`` prints it
    osds: dict[int, OsdStats] = field(default_factory=dict)
    fsid: str = ""  # what Ceph calls this cluster, and no other one in the world
    unsent: dict[str, int] = field(default_factory=dict)  # mirrored VM -> bytes written that the other cluster lacks
    metrics_url: str = ""  # where the active manager's module ``prometheus`` listens; empty while it is off


@dataclass(frozen=True, slots=True)
class Device:
    """A whole disk of a node."""

    path: str  # /dev/sdb
    size: int  # bytes
    model: str = ""
    serial: str = ""
    rotational: bool = False
    holds: str = ""  # what is on it, for a person; empty: nothing, so it may be taken


@dataclass(frozen=True, slots=True)
class Osd:
    """A storage daemon of Ceph, as PVC knows it; what Ceph says of it is in ``OsdStats``."""

    id: int
    node: str
    device: str
    db_device: str = ""
    db_size: int = 0  # bytes
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class OsdStats:
    """As ``ceph osd df`` and ``ceph osd dump`` report it."""

    up: bool
    in_: bool
    node: str = ""
    uuid: str = ""
    weight: float = 0.0
    reweight: float = 0.0
    primary_affinity: float = 1.0
    pgs: int = 0
    kb: int = 0
    used_kb: int = 0
    avail_kb: int = 0
    utilization: float = 0.0
    variance: float = 0.0
    read_ops: int = 0
    read_bytes: int = 0
    write_ops: int = 0
    write_bytes: int = 0
    device_class: str = ""
    data_kb: int = 0  # parts of ``used_kb``
    omap_kb: int = 0
    meta_kb: int = 0

    @property
    def state(self) -> str:
        return f"{'up' if self.up else 'down'},{'in' if self.in_ else 'out'}"
