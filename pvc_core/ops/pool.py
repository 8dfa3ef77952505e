"""Pools: Ceph is changed first and the record second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Pool
from pvc_core.model.task import Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import check_name, require_unused_volume, volume_lock
from pvc_core.ops.snapshot_steps import require_in_no_vm_snapshot
from pvc_core.ops.steps import change, commit
from pvc_core.ops.volume_steps import require_pool
from pvc_core.ports import Create, Delete
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.state.records import VOLUMES

MAX_PGS = 32_768
MAX_REPLICAS = 10


@dataclass(frozen=True)
class PoolOperation(Operation):
    """An operation on one pool."""

    name: str

    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"pool:{self.name}",)


@dataclass(frozen=True)
class PoolCreate(PoolOperation):
    """``tier`` is the class of devices that holds the data: hdd, ssd, nvme, or default for any."""

    pgs: int
    replicas: int
    min_replicas: int
    tier: str = "default"

    task_name = "pool.create"
    summary = "Create a pool"

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_name("pool", self.name)
        if self.name in snapshot.pools:
            raise Conflict(f"there is a pool {self.name} already")
        _check_pgs(self.pgs)
        _check_replication(snapshot, self.replicas, self.min_replicas)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.name not in snapshot.pools:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Creating pool {self.name}")
        blocks = run.tools.blocks
        there = self.name in blocks.pools()
        if there and run.attempt == 1:
            raise Conflict(f"Ceph has a pool {self.name} that PVC does not know: take another name")
        if not there:  # what appears after this is our own, since the name is locked, and may be removed again
            change(
                run,
                lambda: blocks.create_pool(self.name, self.pgs, self.replicas, self.min_replicas, self.tier),
                f"pool {self.name} is in Ceph and has no record",
                lambda: _remove_from_ceph(run, self.name),
            )
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Pool {self.name} is created"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        """The record, and below ``/pvc/volumes`` the directory of the pool's volumes."""
        key = records.pool(self.name)
        if run.attempt > 1 and run.tools.state.find(key) is not None:
            return
        transaction.create(key, Pool(self.name, self.pgs, self.tier, self.replicas, self.min_replicas))
        transaction.raw(Create(f"{VOLUMES}/{self.name}", b""))


@dataclass(frozen=True)
class PoolSetReplication(PoolOperation):
    replicas: int
    min_replicas: int

    task_name = "pool.set_replication"
    summary = "Change the number of copies of a pool"

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.name)
        _check_replication(snapshot, self.replicas, self.min_replicas)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Changing pool {self.name}")
        before = run.tools.state.get(records.pool(self.name)).value
        change(
            run,
            lambda: run.tools.blocks.set_pool_replication(self.name, self.replicas, self.min_replicas),
            f"pool {self.name} keeps {self.replicas} copies in Ceph",
            lambda: run.tools.blocks.set_pool_replication(self.name, before.replicas, before.min_replicas),
        )

        def prepare(transaction: Transaction) -> None:
            entry = run.tools.state.get(records.pool(self.name))
            transaction.update(entry, replace(entry.value, replicas=self.replicas, min_replicas=self.min_replicas))

        commit(run, prepare)
        return {"message": f"Pool {self.name} keeps {self.replicas} copies, of which {self.min_replicas} must be there"}


@dataclass(frozen=True)
class PoolSetPgs(PoolOperation):
    pgs: int

    task_name = "pool.set_pgs"
    summary = "Change the number of placement groups of a pool"

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.name)
        _check_pgs(self.pgs)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Changing pool {self.name}")
        before = run.tools.state.get(records.pool(self.name)).value
        change(
            run,
            lambda: run.tools.blocks.set_pool_pgs(self.name, self.pgs),
            f"pool {self.name} has {self.pgs} placement groups in Ceph",
            lambda: run.tools.blocks.set_pool_pgs(self.name, before.pgs),
        )

        def prepare(transaction: Transaction) -> None:
            entry = run.tools.state.get(records.pool(self.name))
            transaction.update(entry, replace(entry.value, pgs=self.pgs))

        commit(run, prepare)
        return {"message": f"Pool {self.name} has {self.pgs} placement groups"}


@dataclass(frozen=True)
class PoolRemove(PoolOperation):
    """Remove a pool with all volumes in it, of which no machine may use one."""

    task_name = "pool.remove"
    summary = "Remove a pool with its volumes"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"pool:{self.name}", *map(volume_lock, _volumes(snapshot, self.name)))

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.name)
        for full_name in _volumes(snapshot, self.name):
            require_unused_volume(snapshot, full_name)
            require_in_no_vm_snapshot(snapshot, full_name)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.name in snapshot.pools:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Removing pool {self.name}")
        _remove_from_ceph(run, self.name)
        run.commit_point()
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Pool {self.name} is removed"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        state, directory = run.tools.state, f"{VOLUMES}/{self.name}"
        pool = state.find(records.pool(self.name))
        if pool is None:
            return
        for name in state.store.children(directory):
            transaction.delete(state.get(records.volume(self.name, name)))
        at = state.store.get(directory)
        if at is not None:
            transaction.raw(Delete(directory, at.version))
        transaction.delete(pool)


def _remove_from_ceph(run: Run, name: str) -> None:
    try:
        run.tools.blocks.remove_pool(name)
    except NotFound:
        return


def _volumes(snapshot: ClusterSnapshot, pool: str) -> list[str]:
    return [full_name for full_name, volume in snapshot.volumes.items() if volume.pool == pool]


def _check_pgs(pgs: int) -> None:
    if not 1 <= pgs <= MAX_PGS or pgs & (pgs - 1):
        raise BadRequest(f"pgs is a power of two from 1 to {MAX_PGS}, not {pgs}")


def _check_replication(snapshot: ClusterSnapshot, replicas: int, min_replicas: int) -> None:
    if not 1 <= replicas <= MAX_REPLICAS:
        raise BadRequest(f"a pool keeps 1 to {MAX_REPLICAS} copies, not {replicas}")
    if not 1 <= min_replicas <= replicas:
        raise BadRequest(f"mincopies is 1 to {replicas}, the number of copies, not {min_replicas}")
    osds = _osds_in(snapshot)
    if osds is not None and replicas > osds:
        # Ceph would accept it, and the pool's placement groups would never become active.
        raise Conflict(f"{replicas} copies need as many OSDs, and the cluster has {osds}: ask for fewer copies")


def _osds_in(snapshot: ClusterSnapshot) -> int | None:
    """How many OSDs take data; None before the storage cluster was looked at."""
    if snapshot.storage is None:
        return None
    return sum(count for states, count in snapshot.storage.osd_states.items() if states.endswith(",in"))
