"""What a user can ask for. Importing this package registers all operations by their names."""

from pvc_core.ops import (
    cluster,
    fault,
    fence,
    network,
    node,
    pool,
    primary,
    vm_define,
    vm_devices,
    vm_meta,
    vm_migrate,
    vm_power,
    vm_remove,
    volume,
    volume_import,
)

__all__ = [
    "cluster",
    "fault",
    "fence",
    "network",
    "node",
    "pool",
    "primary",
    "vm_define",
    "vm_devices",
    "vm_meta",
    "vm_migrate",
    "vm_power",
    "vm_remove",
    "volume",
    "volume_import",
]
