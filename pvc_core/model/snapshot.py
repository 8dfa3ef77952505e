"""The whole cluster at one moment, as the rules and the API read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pvc_core.model.capacity import Capacity
from pvc_core.model.fault import Fault
from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.mirror import Mirror, PeerWatch, Transfer
from pvc_core.model.network import Network
from pvc_core.model.node import (
    Alive,
    CoordinatorState,
    DaemonState,
    Node,
    NodeRole,
    NodeStats,
    Primary,
)
from pvc_core.model.storage import Osd, Pool, StorageStatus, Volume
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.model.vm_snapshot import VmSnapshot

EMPTY: Mapping[Any, Any] = MappingProxyType({})


class ShownState(StrEnum):
    """The one state under which a machine is shown, made of what is wanted and what was seen."""

    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    DISABLE = "disable"
    PROVISION = "provision"
    MIRROR = "mirror"
    RESTART = "restart"  # runs an older generation, or is being started again
    MIGRATE = "migrate"  # moves to another node
    FAIL = "fail"  # see its reason


@dataclass(frozen=True, slots=True)
class FenceEntry:
    """A fence with the version of its record."""

    fence: Fence
    version: int


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node with what is known of it. ``version`` is that of the desired side, for conditional writes."""

    node: Node
    version: int
    alive: Alive | None
    stats: NodeStats | None
    fence: Fence | None = None

    @property
    def daemon_state(self) -> DaemonState:
        if self.alive is not None:
            return self.alive.daemon_state
        if self.fence is not None and self.fence.step is FenceStep.FENCED:
            return DaemonState.FENCED
        return DaemonState.STOP if self.node.stopped else DaemonState.DEAD

    @property
    def runs(self) -> bool:
        return self.daemon_state is DaemonState.RUN


@dataclass(frozen=True, slots=True)
class VmEntry:
    """A machine with what was last seen of it, and the versions for conditional writes (-1: there is none yet)."""

    vm: Vm
    version: int
    status: VmStatus | None = None
    status_version: int = -1

    @property
    def runs(self) -> bool:
        return self.status is not None and self.status.run is RunState.RUNNING

    @property
    def holder(self) -> str:
        """The node on which it runs or may run; empty when it certainly runs nowhere. Only that node, or who has fenced
        it, ends this, so a machine is given to another node only when there is none."""
        status = self.status
        return status.node if status is not None and status.run in (RunState.STARTING, RunState.RUNNING) else ""

    @property
    def shown_state(self) -> ShownState:
        status = self.status
        if self.vm.migration is not None:
            return ShownState.MIGRATE
        if self.vm.state is VmState.START:
            failed = status is not None and status.run in (RunState.FAILED, RunState.WAITING)
            if status is not None and failed and status.generation == self.vm.generation:
                return ShownState.FAIL
            if status is not None and status.generation != self.vm.generation and status.run is RunState.RUNNING:
                return ShownState.RESTART
        return ShownState(self.vm.state.value)


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """Immutable. ``revision`` rises with each change that was seen; two snapshots of one revision are equal."""

    revision: int = 0
    nodes: Mapping[str, NodeEntry] = field(default_factory=lambda: EMPTY)  # by name
    vms: Mapping[str, VmEntry] = field(default_factory=lambda: EMPTY)  # by uuid
    xmls: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # by uuid; only where the view was told to keep them
    vm_names: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # name -> uuid
    networks: Mapping[int, Network] = field(default_factory=lambda: EMPTY)  # by VNI
    pools: Mapping[str, Pool] = field(default_factory=lambda: EMPTY)
    volumes: Mapping[str, Volume] = field(default_factory=lambda: EMPTY)  # by pool/name
    vm_snapshots: Mapping[str, Mapping[str, VmSnapshot]] = field(default_factory=lambda: EMPTY)  # by uuid, by name
    mirrors: Mapping[str, Mirror] = field(default_factory=lambda: EMPTY)  # by uuid
    peers: Mapping[str, PeerWatch] = field(default_factory=lambda: EMPTY)  # by the peer's name
    transfers: Mapping[str, Transfer] = field(default_factory=lambda: EMPTY)  # by uuid
    osds: Mapping[int, Osd] = field(default_factory=lambda: EMPTY)  # by id
    locks: Mapping[str, str] = field(default_factory=lambda: EMPTY)  # what is held -> id of the task that holds it
    fences: Mapping[str, FenceEntry] = field(default_factory=lambda: EMPTY)  # by node
    faults: Mapping[str, Fault] = field(default_factory=lambda: EMPTY)  # by id
    primary: Primary | None = None
    storage: StorageStatus | None = None
    capacity: Capacity | None = None  # None: not known yet
    maintenance: bool = False

    @property
    def fsid(self) -> str:
        """By which other clusters know this one; empty while its storage has not been looked at yet."""
        return self.storage.fsid if self.storage is not None else ""

    def coordinator_state(self, name: str) -> CoordinatorState:
        if self.nodes[name].node.role is NodeRole.HYPERVISOR:
            return CoordinatorState.HYPERVISOR
        is_primary = self.primary is not None and self.primary.node == name
        return CoordinatorState.PRIMARY if is_primary else CoordinatorState.SECONDARY

    def find_vm(self, name_or_uuid: str) -> VmEntry | None:
        """The machine of that name or uuid; a name that looks like a uuid is taken for a uuid first."""
        return self.vms.get(name_or_uuid) or self.vms.get(self.vm_names.get(name_or_uuid, ""))
