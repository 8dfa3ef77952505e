"""OSDs and pools: the figures of their documents below ``/storage/ceph``."""

from __future__ import annotations

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import OsdStats
from pvc_web.metrics.gauges import Gauges
from pvc_web.storage.documents import PoolDocument, pool_document
from pvc_web.storage.osd_documents import all_osds

DECLARED = {
    "pvc_ceph_osd_device": ("osd device", "1; the device of the OSD, empty where PVC did not make it"),
    "pvc_ceph_osd_db_device": ("osd db_device", "1; the device of its database, empty where that is beside its data"),
    "pvc_ceph_osd_device_class": ("osd device_class", "1; the class of its device"),
    "pvc_ceph_osd_util": ("osd", "Used share of its space, in per cent"),
    "pvc_ceph_osd_var": ("osd", "Its utilization as a multiple of the average of all OSDs"),
    "pvc_ceph_osd_pgs": ("osd", "Placement groups on it"),
    "pvc_ceph_osd_size": ("osd", "Its space in KiB"),
    "pvc_ceph_osd_used": ("osd", "What of it is used, in KiB"),
    "pvc_ceph_osd_used_data": ("osd", "What of it is used for data, in KiB"),
    "pvc_ceph_osd_used_omap": ("osd", "What of it is used for the objects' own key-value data, in KiB"),
    "pvc_ceph_osd_used_meta": ("osd", "What of it is used for the OSD's metadata, in KiB"),
    "pvc_ceph_osd_avail": ("osd", "What of it is free, in KiB"),
    "pvc_ceph_osd_weight": ("osd", "Its share of the data, in the CRUSH map"),
    "pvc_ceph_osd_reweight": ("osd", "By how much that share is lowered now; 1: not at all"),
    "pvc_ceph_osd_wr_ops": ("osd", "Writes a second"),
    "pvc_ceph_osd_wr_data": ("osd", "Bytes written a second"),
    "pvc_ceph_osd_rd_ops": ("osd", "Reads a second"),
    "pvc_ceph_osd_rd_data": ("osd", "Bytes read a second"),
    "pvc_ceph_pool_tier": ("pool tier", "1; the device class of the pool, or default for any"),
    "pvc_ceph_pool_pgs": ("pool", "Its placement groups"),
    "pvc_ceph_pool_volumes": ("pool", "Its volumes"),
    "pvc_ceph_pool_stored_bytes": ("pool", "Bytes of data in it, each counted once"),
    "pvc_ceph_pool_free_bytes": ("pool", "Bytes of data that it could still take"),
    "pvc_ceph_pool_used_bytes": ("pool", "Bytes of space that its data takes, with all copies"),
    "pvc_ceph_pool_used_percent": (
        "pool",
        "Used share of its space, from 0 to 1 as in the document at /storage/ceph/pool",
    ),
    "pvc_ceph_pool_num_objects": ("pool", "Its objects"),
    "pvc_ceph_pool_num_objects_clones": ("pool", "Objects that snapshots keep"),
    "pvc_ceph_pool_num_objects_copies": ("pool", "Objects with all copies"),
    "pvc_ceph_pool_num_objects_missing_on_primary": ("pool", "Objects that the OSD which leads them lacks"),
    "pvc_ceph_pool_num_objects_unfound": ("pool", "Objects of which no copy is found"),
    "pvc_ceph_pool_num_objects_degraded": ("pool", "Copies of objects that are missing"),
    "pvc_ceph_pool_read_ops": ("pool", "Reads since the pool was made"),
    "pvc_ceph_pool_read_bytes": ("pool", "Bytes read since the pool was made"),
    "pvc_ceph_pool_write_ops": ("pool", "Writes since the pool was made"),
    "pvc_ceph_pool_write_bytes": ("pool", "Bytes written since the pool was made"),
}


def add_storage(gauges: Gauges, snapshot: ClusterSnapshot) -> None:
    for osd, stats in all_osds(snapshot).items():
        record = snapshot.osds.get(osd)
        gauges.add("pvc_ceph_osd_device", 1, str(osd), record.device if record else "")
        gauges.add("pvc_ceph_osd_db_device", 1, str(osd), record.db_device if record else "")
        if stats is not None:
            _add_osd(gauges, str(osd), stats)
    for pool in snapshot.pools.values():
        _add_pool(gauges, pool_document(pool, snapshot))


def _add_osd(gauges: Gauges, osd: str, stats: OsdStats) -> None:
    gauges.add("pvc_ceph_osd_device_class", 1, osd, stats.device_class)
    values = {
        "util": stats.utilization,
        "var": stats.variance,
        "pgs": stats.pgs,
        "size": stats.kb,
        "used": stats.used_kb,
        "used_data": stats.data_kb,
        "used_omap": stats.omap_kb,
        "used_meta": stats.meta_kb,
        "avail": stats.avail_kb,
        "weight": stats.weight,
        "reweight": stats.reweight,
        "wr_ops": stats.write_ops,
        "wr_data": stats.write_bytes,
        "rd_ops": stats.read_ops,
        "rd_data": stats.read_bytes,
    }
    for key, value in values.items():
        gauges.add(f"pvc_ceph_osd_{key}", value, osd)


def _add_pool(gauges: Gauges, pool: PoolDocument) -> None:
    stats = pool.stats
    gauges.add("pvc_ceph_pool_tier", 1, pool.name, pool.tier)
    values = {
        "pgs": pool.pgs,
        "volumes": pool.volume_count,
        "stored_bytes": stats.stored_bytes,
        "free_bytes": stats.free_bytes,
        "used_bytes": stats.used_bytes,
        "used_percent": stats.used_percent,
        "num_objects": stats.num_objects,
        "num_objects_clones": stats.num_object_clones,
        "num_objects_copies": stats.num_object_copies,
        "num_objects_missing_on_primary": stats.num_objects_missing_on_primary,
        "num_objects_unfound": stats.num_objects_unfound,
        "num_objects_degraded": stats.num_objects_degraded,
        "read_ops": stats.read_ops,
        "read_bytes": stats.read_bytes,
        "write_ops": stats.write_ops,
        "write_bytes": stats.write_bytes,
    }
    for key, value in values.items():
        gauges.add(f"pvc_ceph_pool_{key}", value, pool.name)
