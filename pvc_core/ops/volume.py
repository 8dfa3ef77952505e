"""Volumes: Ceph is changed first and the record second, and what broke off between is found by the next attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Conflict, Failed, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import require_unused_volume, volume_lock
from pvc_core.ops.meter import Meter
from pvc_core.ops.snapshot_steps import require_in_no_vm_snapshot
from pvc_core.ops.steps import change, commit
from pvc_core.ops.volume_steps import (
    check_new,
    check_room,
    create_volume,
    find_volume,
    record_volume,
    remove_image,
    remove_volume,
    require_free_name,
    require_no_snapshots,
    require_pool,
    update_record,
)
from pvc_core.state import records
from pvc_core.state.cluster import Transaction


@dataclass(frozen=True)
class VolumeOperation(Operation):
    """An operation on one volume of a pool."""

    pool: str
    name: str

    role = Role.ADMINISTRATOR

    @property
    def full_name(self) -> str:
        return f"{self.pool}/{self.name}"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (volume_lock(self.full_name),)


@dataclass(frozen=True)
class VolumeCreate(VolumeOperation):
    """``size`` in bytes. ``force`` fills a pool beyond the ratio that is kept free."""

    size: int
    force: bool = False

    task_name = "volume.create"
    summary = "Create a volume"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        check_new(snapshot, self.pool, self.name)
        if self.size <= 0:
            raise BadRequest(f"size is a positive number of bytes, not {self.size}")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """It may be there by now, and can only be ours, since its name was locked throughout."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        check_room(run, self.pool, self.size, self.force)
        run.step(f"Creating volume {self.full_name}")
        if run.attempt == 1 or not self._made(run):
            create_volume(run, self.pool, self.name, self.size)
        return {"message": f"Volume {self.full_name} is created"}

    def _made(self, run: Run) -> bool:
        """Whether an earlier attempt made the image, perhaps without its record."""
        if self.full_name in run.snapshot.volumes:
            return True
        if not run.tools.blocks.exists(self.pool, self.name):
            return False
        volume = run.tools.blocks.inspect(self.pool, self.name)
        if volume.size != self.size:
            raise Conflict(f"Ceph has another image {self.full_name}: scan it, or take another name")
        record_volume(run, volume)
        return True


@dataclass(frozen=True)
class VolumeResize(VolumeOperation):
    """Grow a volume to ``size`` bytes. A machine that has it sees the new size when it is started anew."""

    size: int
    force: bool = False

    task_name = "volume.resize"
    summary = "Grow a volume"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        volume = find_volume(snapshot, self.full_name)
        if self.size <= volume.size:
            raise BadRequest(f"volume {self.full_name} has {volume.size} bytes and can only grow, not to {self.size}")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        find_volume(snapshot, self.full_name)

    def execute(self, run: Run) -> Mapping[str, Any]:
        old = run.tools.blocks.inspect(self.pool, self.name)
        if self.size < old.size:
            raise BadRequest(
                f"volume {self.full_name} has {old.size} bytes in Ceph and can only grow, not to {self.size}"
            )
        check_room(run, self.pool, self.size - old.size, self.force)
        run.step(f"Growing volume {self.full_name}")
        volume = change(
            run,
            lambda: run.tools.blocks.resize(self.pool, self.name, self.size),
            f"volume {self.full_name} has {self.size} bytes in Ceph already: scan it",
            lambda: self._shrink(run, old.size),
        )
        update_record(run, volume)
        return {"message": f"Volume {self.full_name} has {self.size} bytes"}

    def _shrink(self, run: Run, size: int) -> None:
        """Only what nobody can have written to is cut off again."""
        if run.tools.blocks.watchers(self.pool, self.name):
            raise Failed("it is in use")
        run.tools.blocks.resize(self.pool, self.name, size)


@dataclass(frozen=True)
class VolumeRename(VolumeOperation):
    new_name: str

    task_name = "volume.rename"
    summary = "Rename a volume"
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return tuple({volume_lock(self.full_name), volume_lock(f"{self.pool}/{self.new_name}")})

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_volume(snapshot, self.full_name)
        check_new(snapshot, self.pool, self.new_name)
        require_unused_volume(snapshot, self.full_name)
        require_in_no_vm_snapshot(snapshot, self.full_name)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.full_name in snapshot.volumes:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        blocks, pool = run.tools.blocks, self.pool
        run.step(f"Renaming volume {self.full_name}")
        if run.attempt > 1 and blocks.exists(pool, self.new_name):  # ours: its name is locked
            volume = blocks.inspect(pool, self.new_name)
        else:
            volume = change(
                run,
                lambda: blocks.rename(pool, self.name, self.new_name),
                f"volume {self.full_name} is called {self.new_name} in Ceph",
                lambda: self._rename_back(run),
            )

        def prepare(transaction: Transaction) -> None:
            old = run.tools.state.find(records.volume(pool, self.name))
            if old is not None:
                transaction.delete(old)
                transaction.create(records.volume(pool, self.new_name), volume)

        commit(run, prepare)
        return {"message": f"Volume {self.full_name} is now {pool}/{self.new_name}"}

    def _rename_back(self, run: Run) -> None:
        try:
            run.tools.blocks.rename(self.pool, self.new_name, self.name)
        except NotFound:
            return


@dataclass(frozen=True)
class VolumeClone(VolumeOperation):
    """Copy a volume into a new one of the same pool. What a machine writes meanwhile may be in the copy or not."""

    new_name: str
    force: bool = False

    task_name = "volume.clone"
    summary = "Copy a volume"
    lane = Lane.BULK

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return tuple({volume_lock(self.full_name), volume_lock(f"{self.pool}/{self.new_name}")})

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_volume(snapshot, self.full_name)
        check_new(snapshot, self.pool, self.new_name)

    def execute(self, run: Run) -> Mapping[str, Any]:
        blocks, pool, new_name = run.tools.blocks, self.pool, self.new_name
        check_room(run, pool, blocks.inspect(pool, self.name).size, self.force)
        require_free_name(run, pool, new_name)
        run.step(f"Copying volume {self.full_name}")
        run.undo(f"volume {pool}/{new_name} is in Ceph, unfinished", lambda: remove_image(run, pool, new_name))
        meter = Meter(run, blocks.inspect(pool, self.name).size)
        volume = blocks.clone(pool, self.name, new_name, meter.reach, run.cancelled)
        record_volume(run, volume)
        return {"message": f"Volume {self.full_name} is copied to {pool}/{new_name}"}


@dataclass(frozen=True)
class VolumeRemove(VolumeOperation):
    task_name = "volume.remove"
    summary = "Remove a volume"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        volume = find_volume(snapshot, self.full_name)
        require_unused_volume(snapshot, self.full_name)
        require_no_snapshots(volume)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.full_name in snapshot.volumes:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Removing volume {self.full_name}")
        remove_volume(run, self.pool, self.name)
        return {"message": f"Volume {self.full_name} is removed"}


@dataclass(frozen=True)
class VolumeScan(VolumeOperation):
    """Bring the record up to what Ceph says. An image that was made without PVC gets its record."""

    task_name = "volume.scan"
    summary = "Read a volume anew from Ceph"
    role = Role.OPERATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.pool)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Reading volume {self.full_name}")
        update_record(run, run.tools.blocks.inspect(self.pool, self.name))
        return {"message": f"Volume {self.full_name} is scanned"}
