"""Where each record of the cluster lies in ZooKeeper, and its type.

A ``Key`` joins the two, so that no caller writes a path or decodes JSON by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from pvc_core.errors import PvcError
from pvc_core.model.capacity import Capacity
from pvc_core.model.fault import Fault
from pvc_core.model.fence import Fence
from pvc_core.model.mirror import Mirror, PeerWatch, Transfer
from pvc_core.model.network import Network
from pvc_core.model.node import Alive, Node, NodeStats, Primary
from pvc_core.model.storage import Osd, Pool, StorageStatus, Volume
from pvc_core.model.vm import Vm, VmStatus
from pvc_core.model.vm_snapshot import VmConfig, VmSnapshot

T = TypeVar("T")

ROOT = "/pvc"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Schema:
    """Version of the layout below ``/pvc``; daemons refuse one newer than their own."""

    version: int


@dataclass(frozen=True, slots=True)
class Name:
    """An entry of a name index: the name is the znode's, taken once."""

    uuid: str


@dataclass(frozen=True, slots=True)
class Lock:
    """An ephemeral lock: it ends with the session of the worker that took it."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Maintenance:
    enabled: bool


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    path: str
    type: type[T]

    def encode(self, value: T) -> bytes:
        return msgspec.json.encode(value) if self.type is not str else str(value).encode()

    def decode(self, data: bytes) -> T:
        """Raises PvcError naming the path when the record is not what this version writes."""
        if self.type is str:
            return data.decode()  # type: ignore[return-value]
        try:
            return msgspec.json.decode(data, type=self.type)
        except msgspec.DecodeError as error:
            raise PvcError(f"the record {self.path} cannot be read: {error}") from None


SCHEMA = Key(f"{ROOT}/schema", Schema)
PRIMARY = Key(f"{ROOT}/primary", Primary)
MAINTENANCE = Key(f"{ROOT}/maintenance", Maintenance)
STORAGE = Key(f"{ROOT}/storage", StorageStatus)
CAPACITY = Key(f"{ROOT}/capacity", Capacity)

NODES = f"{ROOT}/nodes"
VMS = f"{ROOT}/vms"
VM_NAMES = f"{ROOT}/names/vm"
NETWORKS = f"{ROOT}/networks"
POOLS = f"{ROOT}/pools"
VOLUMES = f"{ROOT}/volumes"
LOCKS = f"{ROOT}/locks"
FENCES = f"{ROOT}/fences"
FAULTS = f"{ROOT}/faults"
SNAPSHOTS = f"{ROOT}/snapshots"
MIRRORS = f"{ROOT}/mirrors"
PEERS = f"{ROOT}/peers"
TRANSFERS = f"{ROOT}/transfers"
OSDS = f"{ROOT}/osds"

DIRECTORIES = (
    NODES, VMS, VM_NAMES, NETWORKS, POOLS, VOLUMES, LOCKS, FENCES, FAULTS, SNAPSHOTS, MIRRORS, PEERS, TRANSFERS, OSDS,
)  # fmt: skip


def node(name: str) -> Key[Node]:
    return Key(f"{NODES}/{name}", Node)


def alive(name: str) -> Key[Alive]:
    return Key(f"{NODES}/{name}/alive", Alive)


def stats(name: str) -> Key[NodeStats]:
    return Key(f"{NODES}/{name}/stats", NodeStats)


def vm(uuid: str) -> Key[Vm]:
    return Key(f"{VMS}/{uuid}", Vm)


def vm_status(uuid: str) -> Key[VmStatus]:
    return Key(f"{VMS}/{uuid}/status", VmStatus)


def vm_xml(uuid: str) -> Key[str]:
    return Key(f"{VMS}/{uuid}/xml", str)


def vm_name(name: str) -> Key[Name]:
    return Key(f"{VM_NAMES}/{name}", Name)


def network(vni: int) -> Key[Network]:
    return Key(f"{NETWORKS}/{vni}", Network)


def pool(name: str) -> Key[Pool]:
    return Key(f"{POOLS}/{name}", Pool)


def volume(pool_name: str, name: str) -> Key[Volume]:
    """Volumes lie below the directory of their pool, which exists as long as the pool does."""
    return Key(f"{VOLUMES}/{pool_name}/{name}", Volume)


def lock(what: str) -> Key[Lock]:
    """``what`` is kind and name: ``vm:<uuid>``, ``volume:<pool>:<name>``, ``node:<name>``."""
    return Key(f"{LOCKS}/{what}", Lock)


def fence(node_name: str) -> Key[Fence]:
    return Key(f"{FENCES}/{node_name}", Fence)


def fault(fault_id: str) -> Key[Fault]:
    return Key(f"{FAULTS}/{fault_id}", Fault)


def vm_snapshots(uuid: str) -> str:
    """The directory of a machine's snapshots, which is there as long as it has any."""
    return f"{SNAPSHOTS}/{uuid}"


def vm_snapshot(uuid: str, name: str) -> Key[VmSnapshot]:
    return Key(f"{vm_snapshots(uuid)}/{name}", VmSnapshot)


def vm_snapshot_config(uuid: str, name: str) -> Key[VmConfig]:
    """No view keeps these: they are read where one is needed."""
    return Key(f"{vm_snapshots(uuid)}/{name}/config", VmConfig)


def mirror(uuid: str) -> Key[Mirror]:
    return Key(f"{MIRRORS}/{uuid}", Mirror)


def peer(name: str) -> Key[PeerWatch]:
    return Key(f"{PEERS}/{name}", PeerWatch)


def transfer(uuid: str) -> Key[Transfer]:
    return Key(f"{TRANSFERS}/{uuid}", Transfer)


def osd(number: int) -> Key[Osd]:
    return Key(f"{OSDS}/{number}", Osd)
