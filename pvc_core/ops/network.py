"""Networks. The nodes' daemons follow the records and make and remove the bridges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model.domain import parse
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.steps import commit
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

VLAN_IDS = range(1, 4095)
MTUS = range(576, 65536)
MAX_DESCRIPTION = 255


@dataclass(frozen=True)
class NetworkOperation(Operation):
    """An operation on one network, named by its VNI."""

    vni: int

    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"network:{self.vni}",)


@dataclass(frozen=True)
class NetworkCreate(NetworkOperation):
    description: str
    type: NetworkType
    mtu: int | None = None

    task_name = "network.create"
    summary = "Create a network"

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.type is not NetworkType.BRIDGED:
            raise BadRequest("only bridged networks can be made yet, not managed ones")
        if self.vni not in VLAN_IDS:
            raise BadRequest(f"the VNI of a bridged network is a VLAN id from 1 to 4094, not {self.vni}")
        _check(self.description, self.mtu)
        taken = snapshot.networks.get(self.vni)
        if taken is not None:
            raise Conflict(f"there is a network {self.vni} already ({taken.description})")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """It may be there by now, and can only be ours, since the lock was held throughout."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the network")
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Network {self.vni} is created"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        key = records.network(self.vni)
        if run.attempt == 1 or run.tools.state.find(key) is None:
            transaction.create(key, Network(self.vni, self.description, self.type, self.mtu))


@dataclass(frozen=True)
class NetworkModify(NetworkOperation):
    """None leaves a value as it is."""

    description: str | None = None
    mtu: int | None = None

    task_name = "network.modify"
    summary = "Change a network"

    def check(self, snapshot: ClusterSnapshot) -> None:
        network = _find(snapshot, self.vni)
        _check(network.description if self.description is None else self.description, self.mtu)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing the network")
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Network {self.vni} is changed"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        entry = run.tools.state.get(records.network(self.vni))
        network = entry.value
        description = network.description if self.description is None else self.description
        mtu = network.mtu if self.mtu is None else self.mtu
        transaction.update(entry, replace(network, description=description, mtu=mtu))


@dataclass(frozen=True)
class NetworkRemove(NetworkOperation):
    task_name = "network.remove"
    summary = "Remove a network"

    def check(self, snapshot: ClusterSnapshot) -> None:
        network = _find(snapshot, self.vni)
        users = sorted(
            snapshot.vms[uuid].vm.name
            for uuid, xml in snapshot.xmls.items()
            if network.bridge in xml and uuid in snapshot.vms and self.vni in {nic.vni for nic in parse(xml).networks}
        )
        if users:
            raise Conflict(f"network {self.vni} is used by VM {', '.join(users)}")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.vni in snapshot.networks:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Removing the network")
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Network {self.vni} is removed"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        entry = run.tools.state.find(records.network(self.vni))
        if entry is not None:
            transaction.delete(entry)


def _find(snapshot: ClusterSnapshot, vni: int) -> Network:
    network = snapshot.networks.get(vni)
    if network is None:
        raise NotFound(f"there is no network {vni}")
    return network


def _check(description: str, mtu: int | None) -> None:
    if not description or len(description) > MAX_DESCRIPTION or not description.isprintable():
        raise BadRequest(f"a description has 1 to {MAX_DESCRIPTION} printable characters")
    if mtu is not None and mtu not in MTUS:
        raise BadRequest(f"mtu is a number of bytes from {MTUS.start} to {MTUS.stop - 1}, not {mtu}")
