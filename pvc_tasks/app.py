"""Chooses the drivers that the operations work with."""

from __future__ import annotations

from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.clock import SystemClock
from pvc_core.drivers.libvirt import LibvirtHypervisor
from pvc_core.drivers.network import LinuxNetwork
from pvc_core.ops.base import Tools
from pvc_web.config import cluster


def make_tools() -> Tools:
    """The real drivers. Raises Unavailable while the cluster's state cannot be read."""
    config = cluster.config()
    return Tools(
        config=config,
        state=cluster.state(),
        view=cluster.view(),
        clock=SystemClock(),
        blocks=CephBlockStore(config.ceph),
        hypervisor=LibvirtHypervisor(config),
        network=LinuxNetwork(config.network),
    )
