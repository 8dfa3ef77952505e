"""Chooses the drivers that the operations work with."""

from __future__ import annotations

from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.ceph_osds import CephOsdMap
from pvc_core.drivers.clock import SystemClock
from pvc_core.drivers.commands import NodeCommands
from pvc_core.drivers.fio import FioBench
from pvc_core.drivers.libvirt import LibvirtHypervisor
from pvc_core.drivers.network import LinuxNetwork
from pvc_core.drivers.osds import node_osds
from pvc_core.drivers.peers import HttpPeers
from pvc_core.drivers.reports import OutsideReports
from pvc_core.drivers.targets.open import UriTargets
from pvc_core.ops.base import Tools
from pvc_web.config import cluster
from pvc_web.peers.directory import StoredPeers
from pvc_web.schedules.store import StoredSchedules, find_target
from pvc_web.storage.results import StoredBenchmarks

PEER_PATIENCE = 20.0  # seconds in which a task takes another cluster for one that is just being restarted


def make_peers(patience: float = 0.0) -> HttpPeers:
    return HttpPeers(StoredPeers(), lambda: cluster.view().snapshot().fsid, patience)


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
        osds=node_osds(config),
        osd_map=CephOsdMap(config.ceph),
        bench=FioBench(config.ceph),
        benchmarks=StoredBenchmarks(),
        peers=make_peers(PEER_PATIENCE),
        targets=UriTargets(find_target),
        schedules=StoredSchedules(),
        reports=OutsideReports(config.mail),
        commands=NodeCommands(),
    )
