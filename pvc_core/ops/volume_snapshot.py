"""Snapshots of single volumes: Ceph is changed first, and the volume's record then says what it has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Conflict, Failed, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import ImageSnapshot
from pvc_core.model.task import Lane
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import check_name, users_of_volume
from pvc_core.ops.meter import Meter
from pvc_core.ops.snapshot_steps import require_no_vm_snapshot
from pvc_core.ops.steps import change
from pvc_core.ops.volume import VolumeOperation
from pvc_core.ops.volume_steps import (
    check_room,
    find_volume,
    require_no_mirror,
    update_record,
    user_locks,
    wait_unused,
)

RESERVED = "pvc-"  # what the names of snapshots begin with that PVC makes for its own needs


def find_volume_snapshot(snapshot: ClusterSnapshot, full_name: str, name: str) -> ImageSnapshot:
    """Raises NotFound naming those that there are."""
    snapshots = {found.name: found for found in find_volume(snapshot, full_name).snapshots}
    if name not in snapshots:
        raise NotFound(f"volume {full_name} has no snapshot {name!r}; it has {', '.join(snapshots) or 'none'}")
    return snapshots[name]


@dataclass(frozen=True)
class VolumeSnapshotOperation(VolumeOperation):
    """An operation on one snapshot of a volume."""

    snapshot: str

    resumable = True

    @property
    def title(self) -> str:
        return f"snapshot {self.snapshot!r} of volume {self.full_name}"

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_volume_snapshot(snapshot, self.full_name, self.snapshot)

    def read(self, run: Run) -> None:
        """Bring the volume's record up to what Ceph has now."""
        update_record(run, run.tools.blocks.inspect(self.pool, self.name))

    def drop(self, run: Run) -> None:
        """Remove it from Ceph, where it may be gone already."""
        with suppress(NotFound):
            run.tools.blocks.remove_snapshot(self.pool, self.name, self.snapshot)

    def has(self, run: Run, name: str) -> bool:
        """Whether Ceph has a snapshot of that name."""
        return any(found.name == name for found in run.tools.blocks.inspect(self.pool, self.name).snapshots)


@dataclass(frozen=True)
class VolumeSnapshotCreate(VolumeSnapshotOperation):
    """``force`` also where the pool is filled beyond the ratio that is kept free: what is overwritten after a snapshot
    takes room of its own."""

    force: bool = False

    task_name = "volume.snapshot.create"
    summary = "Take a snapshot of a volume"

    def check(self, snapshot: ClusterSnapshot) -> None:
        volume = find_volume(snapshot, self.full_name)
        _check_new(self.snapshot)
        if any(found.name == self.snapshot for found in volume.snapshots):
            raise Conflict(f"volume {self.full_name} has a snapshot {self.snapshot!r} already")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """It may be there by now, and can only be ours, since its volume was locked throughout."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        check_room(run, self.pool, 0, self.force)
        run.step(f"Taking {self.title}")
        there = self.has(run, self.snapshot)
        if there and run.attempt == 1:
            raise Conflict(f"volume {self.full_name} has a snapshot {self.snapshot!r} in Ceph: scan the volume")
        if not there:
            change(
                run,
                lambda: run.tools.blocks.create_snapshot(self.pool, self.name, self.snapshot),
                f"volume {self.full_name} has a snapshot {self.snapshot!r}",
                lambda: self._take_back(run),
            )
        self.read(run)
        return {"message": f"Volume {self.full_name} has the snapshot {self.snapshot}"}

    def _take_back(self, run: Run) -> None:
        self.drop(run)
        self.read(run)


@dataclass(frozen=True)
class VolumeSnapshotRename(VolumeSnapshotOperation):
    new_name: str

    task_name = "volume.snapshot.rename"
    summary = "Rename a snapshot of a volume"

    def check(self, snapshot: ClusterSnapshot) -> None:
        super().check(snapshot)
        _check_new(self.new_name)
        require_no_vm_snapshot(snapshot, self.full_name, self.snapshot)
        if any(found.name == self.new_name for found in find_volume(snapshot, self.full_name).snapshots):
            raise Conflict(f"volume {self.full_name} has a snapshot {self.new_name!r} already")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        find_volume(snapshot, self.full_name)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Renaming {self.title}")
        if run.attempt == 1 or not self.has(run, self.new_name):
            change(
                run,
                lambda: self._rename(run, self.snapshot, self.new_name),
                f"{self.title} is called {self.new_name}",
                lambda: self._rename_back(run),
            )
        self.read(run)
        return {"message": f"The {self.title} is now called {self.new_name}"}

    def _rename(self, run: Run, name: str, new_name: str) -> None:
        run.tools.blocks.rename_snapshot(self.pool, self.name, name, new_name)

    def _rename_back(self, run: Run) -> None:
        if self.has(run, self.new_name):
            self._rename(run, self.new_name, self.snapshot)
            self.read(run)


@dataclass(frozen=True)
class VolumeSnapshotProtect(VolumeSnapshotOperation):
    """Keep a snapshot from being removed, or no longer."""

    protected: bool

    task_name = "volume.snapshot.protect"
    summary = "Protect a snapshot of a volume, or no longer"

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Changing {self.title}")
        before = find_volume_snapshot(run.snapshot, self.full_name, self.snapshot).protected
        change(
            run,
            lambda: self._protect(run, self.protected),
            f"{self.title} is {'protected' if self.protected else 'no longer protected'}",
            lambda: self._protect(run, before),
        )
        self.read(run)
        return {"message": f"The {self.title} is {'protected' if self.protected else 'no longer protected'}"}

    def _protect(self, run: Run, protected: bool) -> None:
        run.tools.blocks.protect_snapshot(self.pool, self.name, self.snapshot, protected)


@dataclass(frozen=True)
class VolumeSnapshotRollback(VolumeSnapshotOperation):
    """Make a volume what it was, its size included. No machine may run on it, nor begin to. Machines' snapshots stay as
    they are, since only the volume's present content is replaced."""

    task_name = "volume.snapshot.rollback"
    summary = "Roll a volume back to a snapshot"
    lane = Lane.BULK

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (*super().locks(snapshot), *user_locks(snapshot, self.full_name))

    def check(self, snapshot: ClusterSnapshot) -> None:
        super().check(snapshot)
        require_no_mirror(snapshot, self.full_name)
        for entry, _ in users_of_volume(snapshot, self.full_name):
            if entry.holder or entry.vm.state not in (VmState.STOP, VmState.DISABLE):
                raise Conflict(
                    f"volume {self.full_name} is a disk of VM {entry.vm.name}, which is not stopped (its state is "
                    f"{entry.shown_state}): stop it first"
                )

    def execute(self, run: Run) -> Mapping[str, Any]:
        target = find_volume_snapshot(run.snapshot, self.full_name, self.snapshot)
        blocks = run.tools.blocks
        check_room(run, self.pool, max(0, target.size - blocks.inspect(self.pool, self.name).size), force=False)
        run.step(f"Rolling back to {self.title}")
        wait_unused(run, self.pool, self.name)
        run.undo(f"volume {self.full_name} may be rolled back in part: roll it back again", _cannot_undo)
        blocks.rollback(self.pool, self.name, self.snapshot, Meter(run, target.size).reach)
        run.commit_point()
        self.read(run)
        return {"message": f"Volume {self.full_name} is rolled back to its snapshot {self.snapshot}"}


@dataclass(frozen=True)
class VolumeSnapshotRemove(VolumeSnapshotOperation):
    task_name = "volume.snapshot.remove"
    summary = "Remove a snapshot of a volume"

    def check(self, snapshot: ClusterSnapshot) -> None:
        super().check(snapshot)
        require_no_vm_snapshot(snapshot, self.full_name, self.snapshot)
        if find_volume_snapshot(snapshot, self.full_name, self.snapshot).protected:
            raise Conflict(f"{self.title} is protected: unprotect it first")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        find_volume(snapshot, self.full_name)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Removing {self.title}")
        self.drop(run)
        run.commit_point()
        self.read(run)
        return {"message": f"The {self.title} is removed"}


def _check_new(name: str) -> None:
    check_name("snapshot", name)
    if name.startswith(RESERVED):
        raise BadRequest(f"{name!r} cannot be the name of a snapshot: those that begin with {RESERVED} are PVC's own")


def _cannot_undo() -> None:
    raise Failed("what it held before is written over")
