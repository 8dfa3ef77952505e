"""Put the configuration of a backup in the place of the present one, and begin with an empty one.

The decision is made in the database, with the relational part, in the transaction that also sends this operation: see
docs/design/cluster-backup.md. What is left to do here is therefore done whatever happens, and again from the start by
another worker when this one dies: each step looks at what is there, and writes what is missing.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import msgspec

from pvc_core.errors import BadRequest, Stale, Unavailable
from pvc_core.model.configuration import Configuration
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.ops.base import WAIT_SLICE, WHOLE_CLUSTER, Operation, Run
from pvc_core.ops.steps import COMMIT_ATTEMPTS, read_vm
from pvc_core.ports import Delete
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.state.records import Key, Name

T = TypeVar("T")


def pack(configuration: Configuration) -> str:
    """The configuration as an argument of the operation."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(configuration))).decode()


def unpack(packed: str) -> Configuration:
    """Raises BadRequest for what ``pack`` did not make."""
    try:
        return msgspec.json.decode(zlib.decompress(base64.b64decode(packed)), type=Configuration)
    except (ValueError, zlib.error) as error:
        raise BadRequest(f"the configuration cannot be read: {error}") from None


@dataclass(frozen=True)
class ClusterOperation(Operation):
    """What replaces the whole configuration: decided when it is accepted."""

    role = Role.ADMINISTRATOR
    resumable = True
    cancellable = False  # the database has its part already

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (WHOLE_CLUSTER,)


@dataclass(frozen=True)
class ClusterRestore(ClusterOperation):
    """Machines and networks become what they are in the configuration. What describes something outside ZooKeeper
    (nodes, pools, volumes, OSDs, snapshots, mirrors) is added where it is missing, and else left as it is."""

    configuration: str  # packed

    task_name = "cluster.restore"
    summary = "Restore the configuration of the cluster"

    def execute(self, run: Run) -> Mapping[str, Any]:
        wanted = unpack(self.configuration)
        writer = Writer(run)
        run.commit_point()
        run.plan(3)
        run.step("Adding what is missing of nodes and storage")
        for name, node in wanted.nodes.items():
            # Until its daemon says otherwise, its silence is no reason to fence it.
            writer.add(records.node(name), replace(node, stopped=True))
        for name, pool in wanted.pools.items():
            writer.ensure(f"{records.VOLUMES}/{name}")
            writer.add(records.pool(name), pool)
        for volume in wanted.volumes.values():
            writer.add(records.volume(volume.pool, volume.name), volume)
        for number, osd in wanted.osds.items():
            writer.add(records.osd(number), osd)
        run.step("Removing VMs and networks that are not in the backup")
        left = writer.remove_vms(wanted)
        writer.replace_networks(wanted)
        run.step("Restoring VMs")
        for done, uuid in enumerate(wanted.vms):
            run.part(done, len(wanted.vms))
            left += writer.restore_vm(wanted, uuid)
        message = f"The configuration is restored: {len(wanted.vms)} VMs, {len(wanted.networks)} networks"
        return {"message": "; ".join([message, *left]), "left": left}


@dataclass(frozen=True)
class ClusterInitialize(ClusterOperation):
    """Forget everything that was configured. Nodes that run stay known; what Ceph stores is not touched."""

    task_name = "cluster.initialize"
    summary = "Erase the configuration of the cluster"

    def execute(self, run: Run) -> Mapping[str, Any]:
        writer = Writer(run)
        run.commit_point()
        run.plan(2)
        run.step("Removing VMs and networks")
        left = writer.remove_vms(Configuration())
        writer.replace_networks(Configuration())
        run.step("Forgetting storage, faults and nodes that do not run")
        for directory in (records.VOLUMES, records.POOLS, records.OSDS, records.FAULTS):
            writer.empty(directory)
        for name in writer.names(records.NODES):
            writer.remove_dead_node(name)
        return {"message": "; ".join(["The configuration is erased", *left]), "left": left}


class Writer:
    """Writes what is decided, for as long as that takes and the task is ours."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._state = run.tools.state

    def persist(self, action: Callable[[], T]) -> T:
        """Do ``action`` as soon as the store answers and no other writer was faster. Raises Stale when one always
        is."""
        stale = 0
        while True:
            self._run.checkpoint()
            try:
                return action()
            except Unavailable:
                self._run.tools.view.wait(lambda _: False, WAIT_SLICE)
            except Stale:
                stale += 1
                if stale == COMMIT_ATTEMPTS:
                    raise

    def commit(self, prepare: Callable[[Transaction], T]) -> T:
        """Commit what ``prepare`` reads and puts into a transaction."""

        def attempt() -> T:
            # Not the run's: its locks may have gone with a session, and the decision stands all the same.
            transaction = self._state.transaction()
            result = prepare(transaction)
            transaction.commit()
            return result

        return self.persist(attempt)

    def ensure(self, path: str) -> None:
        self.persist(lambda: self._state.store.ensure(path))

    def names(self, directory: str) -> list[str]:
        return self.persist(lambda: self._state.store.children(directory))

    def add(self, key: Key[T], value: T) -> None:
        """Write a record where there is none."""

        def prepare(transaction: Transaction) -> None:
            if self._state.find(key) is None:
                transaction.create(key, value)

        self.commit(prepare)

    def empty(self, directory: str) -> None:
        """Remove all below a directory."""
        for name in self.names(directory):
            self.remove(f"{directory}/{name}")

    def remove(self, path: str) -> None:
        """Remove a record with all below it; nothing is wrong when it is not there."""
        self.empty(path)

        def attempt() -> None:
            raw = self._state.store.get(path)
            if raw is not None:
                self._state.store.commit([Delete(path, raw.version)])

        self.persist(attempt)

    def replace_networks(self, wanted: Configuration) -> None:
        for vni in map(int, self.names(records.NETWORKS)):
            if vni not in wanted.networks:
                self.remove(records.network(vni).path)
        for vni, network in wanted.networks.items():
            self.commit(partial(self._put, records.network(vni), network))

    def remove_vms(self, wanted: Configuration) -> list[str]:
        """Remove the machines that are not wanted, and free the names that others are to have. The answer has a
        sentence for each one that stays, since it was started or mirrored meanwhile."""
        left = []
        for uuid in self.names(records.VMS):
            vm = wanted.vms.get(uuid)
            if vm is not None:
                self.commit(partial(self._drop_name, uuid, vm.name))
            elif stays := self.commit(partial(self._drop_vm, uuid)):
                left.append(stays)
            else:
                self.remove(records.vm_snapshots(uuid))
        return left

    def _drop_vm(self, uuid: str, transaction: Transaction) -> str:
        found = self._state.find(records.vm(uuid))
        if found is None:
            return ""
        name = found.value.name
        if read_vm(self._run, uuid).holder or self._state.find(records.mirror(uuid)):
            return f"VM {name} is not in the backup, and stays, since it runs or is mirrored"
        self._drop(transaction, records.vm_status(uuid), records.vm_xml(uuid), records.vm_name(name), found.key)
        return ""

    def remove_dead_node(self, name: str) -> None:
        def prepare(transaction: Transaction) -> None:
            if self._state.find(records.alive(name)) is None:
                self._drop(transaction, records.stats(name), records.fence(name), records.node(name))

        self.commit(prepare)

    def _drop(self, transaction: Transaction, *keys: Key[Any]) -> None:
        for entry in map(self._state.find, keys):
            if entry is not None:
                transaction.delete(entry)

    def _drop_name(self, uuid: str, name: str, transaction: Transaction) -> None:
        """Free the name of a machine that is to have another one."""
        found = self._state.find(records.vm(uuid))
        if found is not None and found.value.name != name:
            entry = self._state.find(records.vm_name(found.value.name))
            if entry is not None and entry.value.uuid == uuid:
                transaction.delete(entry)

    def restore_vm(self, wanted: Configuration, uuid: str) -> list[str]:
        """Make a machine what it is in the configuration, as far as it does not run and is not mirrored: then it keeps
        its place and its state. The answer says what else was left as it is."""
        if self.persist(lambda: self._state.find(records.vm(uuid))) is None:
            for name, taken in wanted.snapshots.get(uuid, {}).items():
                self.ensure(records.vm_snapshots(uuid))
                self.add(records.vm_snapshot(uuid, name), taken)
                self.add(records.vm_snapshot_config(uuid, name), wanted.configs[uuid][name])
        return self.commit(partial(self._restore_vm, wanted, uuid))

    def _restore_vm(self, wanted: Configuration, uuid: str, transaction: Transaction) -> list[str]:
        vm, xml = wanted.vms[uuid], wanted.xmls[uuid]
        taken = self._state.find(records.vm_name(vm.name))
        if taken is not None and taken.value.uuid != uuid:
            return [f"VM {vm.name} is not restored: another one of this name stays"]
        here, mirror = self._state.find(records.vm(uuid)), self._state.find(records.mirror(uuid))
        if here is not None:
            now = here.value
            if mirror is not None or read_vm(self._run, uuid).holder:
                if now.name != vm.name or self._state.get(records.vm_xml(uuid)).value != xml:
                    return [f"VM {now.name} was redefined while it runs or is mirrored, and stays as it is"]
                vm = replace(now, meta=vm.meta, tags=vm.tags)
            else:
                vm = replace(vm, generation=max(vm.generation, now.generation))
        if mirror is None and uuid in wanted.mirrors:
            transaction.create(records.mirror(uuid), wanted.mirrors[uuid])
        self._put(records.vm_name(vm.name), Name(uuid), transaction)
        self._put(records.vm(uuid), vm, transaction)
        self._put(records.vm_xml(uuid), xml, transaction)
        return []

    def _put(self, key: Key[T], value: T, transaction: Transaction) -> None:
        entry = self._state.find(key)
        if entry is None:
            transaction.create(key, value)
        elif entry.value != value:
            transaction.update(entry, value)
