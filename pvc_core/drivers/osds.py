"""Chooses how this node carries OSDs."""

from __future__ import annotations

from pathlib import Path

from pvc_core.config import Config
from pvc_core.drivers.osds_lvm import LvmOsds
from pvc_core.drivers.osds_partitions import PartitionOsds
from pvc_core.ports import Osds

DEVICE_MAPPER = Path("/dev/mapper/control")


def node_osds(config: Config) -> Osds:
    """On logical volumes wherever the kernel has them, unless the configuration says otherwise."""
    method = config.ceph.osd.method
    if method == "lvm" or (method == "auto" and DEVICE_MAPPER.exists()):
        return LvmOsds(config.node.name, config.ceph)
    return PartitionOsds(config.node.name, config.ceph)
