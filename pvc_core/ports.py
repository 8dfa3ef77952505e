"""The doors to the outside. Each is a Protocol with a real driver in ``drivers`` and an in-memory twin in ``fakes``.

Drivers translate and never decide. They raise ``DriverUnavailable`` when the same call may succeed later,
``DriverError`` when it will not, and ``NotFound`` or ``Conflict`` when the outside says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pvc_core.model.node import Bmc, DomainStats, InterfaceStats
from pvc_core.model.storage import PoolStats, StorageStatus, Volume
from pvc_core.model.vm import Domain as Domain
from pvc_core.model.vm import DomainRun as DomainRun


class Clock(Protocol):
    """Time. ``now`` may jump when an administrator sets the clock; ``monotonic`` never does."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        ...


class Session(StrEnum):
    """State of the connection to ZooKeeper."""

    CONNECTED = "connected"
    SUSPENDED = "suspended"  # no connection now; the session may still be alive on the servers
    LOST = "lost"  # the session has ended, and with it every ephemeral node


@dataclass(frozen=True, slots=True)
class Raw:
    """Content of one znode with its version."""

    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Create:
    path: str
    data: bytes
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    path: str
    data: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    path: str
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """Fails the transaction unless ``path`` exists with ``version``."""

    path: str
    version: int


Write = Create | Update | Delete | Check


class Store(Protocol):
    """A tree of small versioned records with atomic transactions, ephemeral records and watches (ZooKeeper)."""

    def get(self, path: str) -> Raw | None:
        """The record, or None when it does not exist. Raises Unavailable without a quorum."""
        ...

    def children(self, path: str) -> list[str]:
        """Names of the children of ``path``, sorted; empty when it does not exist."""
        ...

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes or none. Raises Stale naming the first path that did not fit, Unavailable when the outcome
        is not known or there is no quorum. The parents of a created path must exist."""
        ...

    def ensure(self, path: str) -> None:
        """Create ``path`` and its parents as empty records where they are missing."""
        ...

    def mirror(self, root: str, wanted: Callable[[str], bool], on_change: Callable[[str, Raw | None], None]) -> None:
        """Call ``on_change(path, record)`` for each wanted record at or below ``root`` as it is now, and again after
        every change (None: it was deleted). Returns once the present state was delivered. A path that is not wanted
        is not descended into. Calls come one at a time, in order for any one record; an intermediate version may be
        left out. After a lost connection or session, what changed meanwhile is delivered when it is back."""
        ...

    def settle(self, timeout: float) -> None:
        """Wait until every change committed by anyone before this call was delivered to the mirrors. Raises Unavailable
        when that takes longer than ``timeout`` seconds."""
        ...

    def on_session(self, listener: Callable[[Session], None]) -> None:
        """Call ``listener`` after each change of the session's state; it must return at once."""
        ...

    @property
    def session(self) -> Session: ...

    @property
    def owner(self) -> int:
        """Id of the present session, 0 without one."""
        ...

    def close(self) -> None:
        """End the session, and with it this client's ephemeral records."""
        ...


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """Bytes of memory; ``total`` grows while the guest writes."""

    done: int
    total: int


class Hypervisor(Protocol):
    """Domains of one node (libvirt). Domains are transient: one that is off leaves nothing behind."""

    def domains(self) -> dict[str, Domain]:
        """Every domain of this node by uuid."""
        ...

    def start(self, xml: str) -> Domain:
        """Create and start a domain from the cluster's XML, adapted to this node (domain type, emulator, Ceph's
        monitors and secret, console log). Raises Conflict when it runs already."""
        ...

    def shutdown(self, uuid: str) -> None:
        """Ask the guest to power off. Returns at once. NotFound when there is no such domain."""
        ...

    def destroy(self, uuid: str) -> None:
        """Cut its power. No error when there is no such domain."""
        ...

    def attach(self, uuid: str, device_xml: str) -> None:
        """Plug a device into the running domain."""
        ...

    def detach(self, uuid: str, device_xml: str, timeout: float) -> None:
        """Unplug a device and wait until the guest let it go. Failed when it does not within ``timeout`` seconds."""
        ...

    def migrate(
        self,
        uuid: str,
        target: str,
        max_downtime: int,
        progress: Callable[[MigrationProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Move a running domain to the node whose libvirt answers at the address ``target``; returns when it runs
        there. ``max_downtime`` in milliseconds. Raises Cancelled, or DriverError with the domain still running
        here."""
        ...

    def statistics(self) -> dict[str, DomainStats]:
        """Counters of all running domains by uuid, read in one call."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after a domain began, ended, paused or went on; it must return at once. Changes may be
        missed while libvirt is not connected, so a call is a reason to look sooner, not the only reason to look."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Locker:
    """A client that holds a lock of an image."""

    client: str  # such as ``client.4123``
    host: str  # its IP address


class BlockStore(Protocol):
    """RBD images and their pools (Ceph)."""

    def create_pool(self, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
        """Create a pool for RBD and wait until its placement groups are active."""
        ...

    def set_pool_pgs(self, name: str, pgs: int) -> None: ...

    def remove_pool(self, name: str) -> None:
        """Remove a pool with all that is in it."""
        ...

    def pools(self) -> dict[str, PoolStats]: ...

    def create(self, pool: str, name: str, size: int) -> Volume:
        """Create an image of ``size`` bytes. Conflict when the name is taken, NotFound when the pool is not there."""
        ...

    def remove(self, pool: str, name: str) -> None:
        """Remove an image. NotFound; Conflict when it is in use or has snapshots."""
        ...

    def resize(self, pool: str, name: str, size: int) -> Volume: ...

    def rename(self, pool: str, name: str, new_name: str) -> Volume: ...

    def clone(
        self, pool: str, name: str, new_name: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Volume:
        """Copy an image into a new, independent one, keeping holes; ``progress(done, total)`` in bytes."""
        ...

    def volumes(self, pool: str) -> list[str]: ...

    def inspect(self, pool: str, name: str) -> Volume: ...

    def image_size(self, path: Path, image_format: str) -> int:
        """Bytes of the disk in an image file. Raises BadRequest when it is not of that format, or needs other files."""
        ...

    def import_image(
        self,
        path: Path,
        image_format: str,
        pool: str,
        name: str,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Write the content of an image file (raw, qcow2, vmdk, vdi, vpc, qed) into an existing image that is large
        enough."""
        ...

    def lockers(self, pool: str, name: str) -> list[Locker]:
        """Who holds a lock of the image."""
        ...

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        """Break the locks of the image that clients at these hosts (IP addresses; None: all) have, and shut those
        clients out; answers how many there were."""
        ...

    def shut_out(self, hosts: Collection[str]) -> None:
        """Have Ceph refuse everything that any process at these hosts (IP addresses) sends, now or later, until they
        are let in again, and mark the OSDs that live there down, so that none of them serves such a process from an
        older map. Returns once the map with it is in force for whoever opens an image after this. Nothing changes for
        hosts that are shut out already. Raises BadRequest for what is no address, and without any; Conflict for this
        client's own."""
        ...

    def readmit(self, hosts: Collection[str]) -> None:
        """Take these hosts off the list; no error when they are not on it. Clients shut out one by one stay out."""
        ...

    def shut_out_hosts(self) -> set[str]:
        """The hosts that are wholly shut out now, each address in its shortest form."""
        ...

    def watchers(self, pool: str, name: str) -> list[str]:
        """Addresses of the clients that have the image open."""
        ...

    def map(self, pool: str, name: str) -> AbstractContextManager[Path]:
        """The image as a block device of this machine, for as long as the context lasts."""
        ...

    def status(self, now: float) -> StorageStatus: ...

    def close(self) -> None: ...


class NetworkPlane(Protocol):
    """Bridges and links of one node."""

    def bridges(self) -> set[str]:
        """Names of the bridges that stand for the cluster's networks here."""
        ...

    def ensure_bridged(self, vni: int, mtu: int | None) -> None:
        """Make the bridge of a bridged network and connect it to the upstream switches; nothing when it is as
        wanted."""
        ...

    def remove_bridged(self, vni: int) -> None:
        """Take the bridge of a network away; no error when there is none."""
        ...

    def hold(self, address: str, beside: str, seconds: int) -> None:
        """Have a floating address (CIDR) on the interface that has this node's own address ``beside`` (CIDR), for so
        long from now: then it goes by itself within a second, even if nothing of ours runs any more. Doing it again
        makes it stay for longer. Raises DriverError when no interface has ``beside``."""
        ...

    def announce(self, address: str) -> None:
        """Tell the neighbours that a floating address is here, by gratuitous ARP or unsolicited neighbour
        advertisement. Raises DriverError when this node does not have it."""
        ...

    def release(self, address: str) -> None:
        """Give a floating address (CIDR) up; no error when this node does not have it."""
        ...

    def held(self, addresses: Collection[str]) -> set[str]:
        """Those of the floating addresses (CIDR) that this node has."""
        ...

    def interfaces(self) -> dict[str, InterfaceStats]:
        """Counters of the physical interfaces by name."""
        ...


class Watchdog(Protocol):
    """A timer that resets this node unless it is put off again and again."""

    def put_off(self) -> None:
        """Begin its time anew."""
        ...

    def close(self) -> None:
        """Disarm it."""
        ...


class PowerState(StrEnum):
    ON = "on"
    OFF = "off"


class Power(Protocol):
    """The power switches of other nodes: their BMCs. Each call asks the BMC and ends within ten seconds."""

    def state(self, node: str, bmc: Bmc) -> PowerState:
        """What the BMC says now. Raises DriverUnavailable when it does not answer, DriverError when it refuses or says
        what is neither on nor off."""
        ...

    def off(self, node: str, bmc: Bmc) -> None:
        """Have the power cut at once. That the BMC accepts this proves nothing: ask for the state."""
        ...

    def on(self, node: str, bmc: Bmc) -> None:
        """Have the power switched on."""
        ...
