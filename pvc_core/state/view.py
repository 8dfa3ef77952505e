"""A picture of the whole cluster, kept in memory by watches, so that reading costs no round trip."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from pvc_core.errors import PvcError
from pvc_core.model.capacity import Capacity
from pvc_core.model.fault import Fault
from pvc_core.model.fence import Fence
from pvc_core.model.mirror import Mirror, PeerWatch, Transfer
from pvc_core.model.network import Network
from pvc_core.model.node import Alive, Node, NodeStats, Primary
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, NodeEntry, VmEntry
from pvc_core.model.storage import Osd, Pool, StorageStatus, Volume
from pvc_core.model.vm import Vm, VmStatus
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ports import Raw, Store
from pvc_core.state import records
from pvc_core.state.records import Key, Lock, Maintenance, Name

log = logging.getLogger(__name__)


class ClusterView:
    """Follows ``/pvc`` and answers with snapshots. Safe to use from several threads.

    ``with_xml`` also keeps the libvirt XML of all machines, ``with_stats`` the statistics of all nodes: most of the
    bytes and most of the changes, and a node daemon needs neither."""

    def __init__(self, store: Store, *, with_xml: bool = True, with_stats: bool = True) -> None:
        self._store = store
        kinds = ((("vms", "xml"), with_xml), (("nodes", "stats"), with_stats), (("snapshots", "config"), False))
        self._unwanted = {kind for kind, kept in kinds if not kept}
        self._changed = threading.Condition()
        self._revision = 0
        self._snapshot: ClusterSnapshot | None = None
        self._nodes: dict[str, tuple[Node, int]] = {}
        self._alive: dict[str, Alive] = {}
        self._stats: dict[str, NodeStats] = {}
        self._vms: dict[str, VmEntry] = {}
        self._pending_status: dict[str, tuple[VmStatus, int]] = {}  # seen before the machine itself
        self._xmls: dict[str, str] = {}
        self._vm_names: dict[str, str] = {}
        self._networks: dict[int, Network] = {}
        self._pools: dict[str, Pool] = {}
        self._volumes: dict[str, Volume] = {}
        self._vm_snapshots: dict[str, dict[str, VmSnapshot]] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._peers: dict[str, PeerWatch] = {}
        self._transfers: dict[str, Transfer] = {}
        self._osds: dict[int, Osd] = {}
        self._locks: dict[str, str] = {}
        self._fences: dict[str, FenceEntry] = {}
        self._faults: dict[str, Fault] = {}
        self._primary: Primary | None = None
        self._storage: StorageStatus | None = None
        self._capacity: Capacity | None = None
        self._maintenance = False

    def start(self) -> None:
        """Load the present state and follow it from now on. Raises Unavailable without a quorum."""
        self._store.mirror(records.ROOT, self._wanted, self._on_change)

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until this view shows all that was committed, by anyone, before the call."""
        self._store.settle(timeout)

    def snapshot(self) -> ClusterSnapshot:
        """The cluster as last seen. Costs nothing while nothing changes."""
        with self._changed:
            if self._snapshot is None:
                nodes = {
                    name: NodeEntry(node, version, self._alive.get(name), self._stats.get(name), self._fence(name))
                    for name, (node, version) in sorted(self._nodes.items())
                }
                self._snapshot = ClusterSnapshot(
                    revision=self._revision,
                    nodes=nodes,
                    vms=dict(self._vms),
                    xmls=dict(self._xmls),
                    vm_names=dict(self._vm_names),
                    networks=dict(self._networks),
                    pools=dict(self._pools),
                    volumes=dict(self._volumes),
                    vm_snapshots={uuid: dict(named) for uuid, named in self._vm_snapshots.items()},
                    mirrors=dict(self._mirrors),
                    peers=dict(self._peers),
                    transfers=dict(self._transfers),
                    osds=dict(self._osds),
                    locks=dict(self._locks),
                    fences=dict(self._fences),
                    faults=dict(self._faults),
                    primary=self._primary,
                    storage=self._storage,
                    capacity=self._capacity,
                    maintenance=self._maintenance,
                )
            return self._snapshot

    def wait(self, predicate: Callable[[ClusterSnapshot], bool], timeout: float) -> bool:
        """Block until ``predicate`` holds for the present snapshot; False when ``timeout`` seconds passed before."""
        with self._changed:
            return self._changed.wait_for(lambda: predicate(self.snapshot()), timeout)

    def wait_change(self, revision: int, timeout: float) -> int:
        """Block until the revision differs from ``revision`` or ``timeout`` seconds passed; the present revision."""
        with self._changed:
            self._changed.wait_for(lambda: self._revision != revision, timeout)
            return self._revision

    def wake(self) -> None:
        """End every ``wait_change`` now, as if something had changed."""
        with self._changed:
            self._revision += 1
            self._snapshot = None
            self._changed.notify_all()

    def _wanted(self, path: str) -> bool:
        parts = path.removeprefix(f"{records.ROOT}/").split("/")
        return (parts[0], parts[-1]) not in self._unwanted or len(parts) < (4 if parts[0] == "snapshots" else 3)

    def _on_change(self, path: str, raw: Raw | None) -> None:
        parts = path.removeprefix(f"{records.ROOT}/").split("/")
        with self._changed:
            try:
                self._apply(parts, raw)
            except PvcError as error:
                # One record that cannot be read must not hide the rest of the cluster; the last good value stays.
                log.error("%s", error)
                return
            self._revision += 1
            self._snapshot = None
            self._changed.notify_all()

    def _apply(self, parts: list[str], raw: Raw | None) -> None:
        match parts:
            case ["nodes", name]:
                _put(self._nodes, name, _versioned(records.node(name), raw))
            case ["nodes", name, "alive"]:
                _put(self._alive, name, _value(records.alive(name), raw))
            case ["nodes", name, "stats"]:
                _put(self._stats, name, _value(records.stats(name), raw))
            case ["vms", uuid]:
                self._apply_vm(uuid, _versioned(records.vm(uuid), raw))
            case ["vms", uuid, "status"]:
                self._apply_status(uuid, _versioned(records.vm_status(uuid), raw))
            case ["vms", uuid, "xml"]:
                _put(self._xmls, uuid, _value(records.vm_xml(uuid), raw))
            case ["names", "vm", name]:
                entry: Name | None = _value(records.vm_name(name), raw)
                _put(self._vm_names, name, None if entry is None else entry.uuid)
            case ["networks", vni]:
                _put(self._networks, int(vni), _value(records.network(int(vni)), raw))
            case ["pools", name]:
                _put(self._pools, name, _value(records.pool(name), raw))
            case ["volumes", pool, name]:
                _put(self._volumes, f"{pool}/{name}", _value(records.volume(pool, name), raw))
            case ["snapshots", uuid, name]:
                named = self._vm_snapshots.setdefault(uuid, {})
                _put(named, name, _value(records.vm_snapshot(uuid, name), raw))
                if not named:
                    del self._vm_snapshots[uuid]
            case ["mirrors", uuid]:
                _put(self._mirrors, uuid, _value(records.mirror(uuid), raw))
            case ["peers", name]:
                _put(self._peers, name, _value(records.peer(name), raw))
            case ["transfers", uuid]:
                _put(self._transfers, uuid, _value(records.transfer(uuid), raw))
            case ["osds", number]:
                _put(self._osds, int(number), _value(records.osd(int(number)), raw))
            case ["locks", what]:
                held: Lock | None = _value(records.lock(what), raw)
                _put(self._locks, what, None if held is None else held.task_id)
            case ["fences", name]:
                seen = _versioned(records.fence(name), raw)
                _put(self._fences, name, None if seen is None else FenceEntry(*seen))
            case ["faults", identity]:
                _put(self._faults, identity, _value(records.fault(identity), raw))
            case ["primary"]:
                self._primary = _value(records.PRIMARY, raw)
            case ["storage"]:
                self._storage = _value(records.STORAGE, raw)
            case ["capacity"]:
                self._capacity = _value(records.CAPACITY, raw)
            case ["maintenance"]:
                maintenance: Maintenance | None = _value(records.MAINTENANCE, raw)
                self._maintenance = maintenance is not None and maintenance.enabled

    def _fence(self, name: str) -> Fence | None:
        entry = self._fences.get(name)
        return None if entry is None else entry.fence

    def _apply_vm(self, uuid: str, seen: tuple[Vm, int] | None) -> None:
        if seen is None:
            self._vms.pop(uuid, None)
            return
        old = self._vms.get(uuid)
        status = (old.status, old.status_version) if old else self._pending_status.pop(uuid, (None, -1))
        self._vms[uuid] = VmEntry(*seen, *status)

    def _apply_status(self, uuid: str, seen: tuple[VmStatus, int] | None) -> None:
        entry = self._vms.get(uuid)
        if entry is not None:
            self._vms[uuid] = VmEntry(entry.vm, entry.version, *(seen or (None, -1)))
        elif seen is not None:
            self._pending_status[uuid] = seen
        else:
            self._pending_status.pop(uuid, None)


def _value(key: Key[Any], raw: Raw | None) -> Any:
    return None if raw is None else key.decode(raw.data)


def _versioned(key: Key[Any], raw: Raw | None) -> Any:
    return None if raw is None else (key.decode(raw.data), raw.version)


def _put(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
