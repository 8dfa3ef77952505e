"""The doors to the outside. Each is a Protocol with a real driver in ``drivers`` and an in-memory twin in ``fakes``.

Drivers translate and never decide. They raise ``DriverUnavailable`` when the same call may succeed later,
``DriverError`` when it will not, and ``NotFound`` or ``Conflict`` when the outside says so."""

from __future__ import annotations

from pvc_core.model.mirror import Word
from pvc_core.model.vm import Domain, DomainRun
from pvc_core.ports.benchmark import Bench, BenchmarkResults
from pvc_core.ports.blocks import BlockImage, BlockStore, Extent, Locker
from pvc_core.ports.clock import Clock
from pvc_core.ports.commands import Commands
from pvc_core.ports.hypervisor import Hypervisor, MigrationProgress
from pvc_core.ports.network import NetworkPlane
from pvc_core.ports.osds import OsdLoad, OsdMap, Osds
from pvc_core.ports.peer import Incoming, Offer, Peer, PeerAccess, PeerDirectory, Peers
from pvc_core.ports.power import Power, PowerState, Watchdog
from pvc_core.ports.schedules import Reports, Schedules
from pvc_core.ports.store import Check, Create, Delete, Raw, Session, Store, Update, Write
from pvc_core.ports.target import BackupTarget, Targets

__all__ = [
    "BackupTarget", "Bench", "BenchmarkResults", "BlockImage", "BlockStore", "Check", "Clock", "Commands", "Create",
    "Delete", "Domain", "DomainRun", "Extent", "Hypervisor", "Incoming", "Locker", "MigrationProgress", "NetworkPlane",
    "Offer", "OsdLoad", "OsdMap", "Osds", "Peer", "PeerAccess", "PeerDirectory", "Peers", "Power", "PowerState", "Raw",
    "Reports", "Schedules", "Session", "Store", "Targets", "Update", "Watchdog", "Word", "Write",
]  # fmt: skip
