"""OSDs: Ceph is asked whether a step does harm before it is done, and the record is written after Ceph has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pvc_core.errors import BadRequest, Conflict, NotFound, PvcError
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Osd
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import node_runs
from pvc_core.ops.osd_steps import (
    check_database,
    database,
    drain,
    drop_record,
    find_device,
    osd_node,
    put_record,
    require_enough,
    require_node,
    require_room,
    require_safe_to_stop,
    wait_down,
    wait_up,
)
from pvc_core.rules import devices

log = logging.getLogger(__name__)

MAX_COUNT = 16  # OSDs on one disk
FLAGS = (
    "full", "pause", "noup", "nodown", "noout", "noin", "nobackfill", "norebalance", "norecover", "noscrub",
    "nodeep-scrub", "notieragent", "nosnaptrim",
)  # fmt: skip


@dataclass(frozen=True)
class DiskOperation(Operation):
    """An operation on a disk of one node, where no other may partition a disk meanwhile."""

    node: str
    device: str

    role = Role.ADMINISTRATOR

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (disks_lock(self.node),)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_node(snapshot, self.node)
        devices.check(self.device)


@dataclass(frozen=True)
class OsdAdd(DiskOperation):
    """``weight`` is each OSD's share of the data; None for its size in TiB, as Ceph reckons it. ``db_ratio``, a part of
    the OSD's size, and ``db_size``, bytes, of which one at most is given, are for a database on the node's volume group
    for them."""

    weight: float | None = None
    count: int = 1
    db_ratio: float = 0.0
    db_size: int = 0

    task_name = "osd.add"
    summary = "Add OSDs on a disk"

    def check(self, snapshot: ClusterSnapshot) -> None:
        super().check(snapshot)
        _check_weight(self.weight)
        if not 1 <= self.count <= MAX_COUNT:
            raise BadRequest(f"osd_count is 1 to {MAX_COUNT}, not {self.count}")
        check_database(self.db_ratio, self.db_size)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(4 + self.count)
        run.step(f"Looking at {self.device}")
        osds, osd_map = run.tools.osds, run.tools.osd_map
        disk = find_device(run, self.device, empty=True)
        group, size = database(run, disk, self.count, self.db_ratio, self.db_size)
        made = osds.create(disk.path, self.count, group, size, run.step)
        for osd in made:
            run.undo(f"OSD {osd.id} is on {disk.path} of node {self.node}", _taker_away(run, osd.id))
        numbers = [osd.id for osd in made]
        run.step(f"Waiting for OSD {_listed(numbers)} to come up")
        wait_up(run, numbers)
        run.step(f"Recording OSD {_listed(numbers)}")
        for osd in made:
            if self.weight is not None:
                osd_map.set_weight(osd.id, self.weight)
            put_record(run, osd)
            run.undo(f"OSD {osd.id} has a record", _record_dropper(run, osd.id))
        return {"message": f"OSD {_listed(numbers)} is added on {disk.path} of node {self.node}", "osds": numbers}


@dataclass(frozen=True)
class OsdCreateDbGroup(DiskOperation):
    task_name = "osd.create_db_group"
    summary = "Make a disk the volume group for OSD databases"

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Making {self.device} the volume group for databases")
        disk = find_device(run, self.device, empty=True)
        run.tools.osds.create_db_group(disk.path)
        return {"message": f"The databases of OSDs on node {self.node} can go to {disk.path}"}


@dataclass(frozen=True)
class OsdOperation(Operation):
    """An operation on one OSD, on the node that carries it."""

    osd: int

    role = Role.ADMINISTRATOR

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        node = osd_node(snapshot, self.osd) if _is_known(snapshot, self.osd) else ""
        return (f"osd:{self.osd}", *([disks_lock(node)] if node in snapshot.nodes else []))

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return f"osd.{self.osd}"

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        node = osd_node(snapshot, self.osd) if _is_known(snapshot, self.osd) else ""
        return node if node_runs(snapshot, node) else None


@dataclass(frozen=True)
class OsdRemove(OsdOperation):
    """Move all data off an OSD, then take it out of Ceph and wipe it. ``force`` asks Ceph nothing, waits for nothing
    and leaves out what fails: data of which this was the last copy is lost."""

    force: bool = False

    task_name = "osd.remove"
    summary = "Remove an OSD"
    lane = Lane.BULK
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        node = osd_node(snapshot, self.osd)
        if not self.force:
            require_node(snapshot, node)
            require_enough(snapshot, self.osd)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if _is_known(snapshot, self.osd):
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(4)
        here = run.tools.config.node.name == self._node(run)
        if self.osd in run.tools.osd_map.stats():
            self._take_out(run)
            self._stop(run, here)
            run.step(f"Removing OSD {self.osd} from Ceph")
            run.tools.osd_map.purge(self.osd)
            run.commit_point()
        run.step(f"Wiping what OSD {self.osd} had on its disks")
        run.commit_point()
        if here:
            self._unless_forced(lambda: run.tools.osds.zap(self.osd))
        drop_record(run, self.osd)
        return {"message": f"OSD {self.osd} is removed{'' if here else ', and its disk is not wiped'}"}

    def _node(self, run: Run) -> str:
        return osd_node(run.snapshot, self.osd) if _is_known(run.snapshot, self.osd) else ""

    def _take_out(self, run: Run) -> None:
        run.step(f"Moving all data off OSD {self.osd}")
        if not self.force:
            require_room(run, self.osd)
        if run.tools.osd_map.stats()[self.osd].in_:
            run.tools.osd_map.set_in(self.osd, False)
            run.undo(f"OSD {self.osd} is out", lambda: run.tools.osd_map.set_in(self.osd, True))
        if not self.force:
            drain(run, self.osd)
            require_safe_to_stop(run, self.osd)

    def _stop(self, run: Run, here: bool) -> None:
        run.step(f"Stopping OSD {self.osd}")
        if here:
            self._unless_forced(lambda: run.tools.osds.stop(self.osd))
            found = run.snapshot.osds.get(self.osd)
            if found is not None:
                device = found.device
                run.undo(f"OSD {self.osd} is stopped", lambda: run.tools.osds.activate(self.osd, device))
        wait_down(run, self.osd)

    def _unless_forced(self, action: Callable[[], object]) -> None:
        try:
            action()
        except PvcError as error:
            if not self.force:
                raise
            log.warning("removal of OSD %d goes on all the same: %s", self.osd, error)


@dataclass(frozen=True)
class OsdReplace(OsdOperation):
    """Make an OSD anew on another disk, under its old number and in its old place, so that only its own data is
    written again. Its old disk is wiped if it is still there. ``weight`` None and no wish for a database leave both as
    they were."""

    device: str
    old_device: str = ""
    weight: float | None = None
    db_ratio: float = 0.0
    db_size: int = 0
    force: bool = False

    task_name = "osd.replace"
    summary = "Replace the disk of an OSD"

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_node(snapshot, osd_node(snapshot, self.osd))
        devices.check(self.device)
        if self.old_device:
            devices.check(self.old_device)
        _check_weight(self.weight)
        check_database(self.db_ratio, self.db_size)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(7)
        run.step(f"Looking at {self.device}")
        disk = find_device(run, self.device, empty=True)
        known = run.snapshot.osds.get(self.osd)
        self._check_old_device(run, known)
        kept = known.db_size if known and not self.db_ratio else 0
        group, size = database(run, disk, 1, self.db_ratio, self.db_size or kept)
        if not self.force:
            self._require_copies(run)
        run.step(f"Stopping OSD {self.osd}")
        run.tools.osds.stop(self.osd)
        if known is not None:
            run.undo(f"OSD {self.osd} is stopped", lambda: run.tools.osds.activate(self.osd, known.device))
        wait_down(run, self.osd)
        run.step(f"Giving up what OSD {self.osd} has on its old disk")
        run.commit_point()
        run.tools.osd_map.destroy(self.osd)
        run.tools.osds.zap(self.osd)
        made = run.tools.osds.replace(self.osd, disk.path, group, size, run.step)
        put_record(run, made)
        run.step(f"Waiting for OSD {self.osd} to come up")
        wait_up(run, [self.osd])
        run.step(f"Letting OSD {self.osd} take data")
        if self.weight is not None:
            run.tools.osd_map.set_weight(self.osd, self.weight)
        run.tools.osd_map.set_in(self.osd, True)
        return {"message": f"OSD {self.osd} is on {disk.path} now; Ceph copies its data there"}

    def _check_old_device(self, run: Run, known: Osd | None) -> None:
        if not self.old_device or known is None:
            return
        old = devices.resolve(self.old_device, run.tools.osds.devices())
        with suppress(NotFound):  # a disk that is gone is known by its path alone
            old = run.tools.osds.device(old).path
        if old != known.device:
            raise Conflict(f"OSD {self.osd} is on {known.device}, not on {old}")

    def _require_copies(self, run: Run) -> None:
        """Raise Conflict unless all that is on the OSD is elsewhere too, and can be read and written without it."""
        osd_map = run.tools.osd_map
        if not osd_map.unsafe_to_destroy(self.osd):
            return
        require_safe_to_stop(run, self.osd)
        load = osd_map.load(self.osd)
        if osd_map.stats()[self.osd].up and load.unclean:
            raise Conflict(
                f"{load.unclean} placement groups of OSD {self.osd} do not have all their copies yet: wait until Ceph "
                "has made them, or force it"
            )


@dataclass(frozen=True)
class OsdRefresh(OsdOperation):
    """Start an OSD from the disk that it is on now, whatever that was called before. One that runs is restarted."""

    device: str
    force: bool = False

    task_name = "osd.refresh"
    summary = "Find an OSD on its disk again"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_node(snapshot, osd_node(snapshot, self.osd))
        devices.check(self.device)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(2)
        run.step(f"Starting OSD {self.osd} from {self.device}")
        disk = find_device(run, self.device, empty=False)
        if not any(osd.id == self.osd and osd.device == disk.path for osd in run.tools.osds.present()):
            raise NotFound(f"OSD {self.osd} does not lie on {disk.path}")
        stats = run.tools.osd_map.stats().get(self.osd)
        if stats is None:
            raise NotFound(f"Ceph has no OSD {self.osd}: add one on the disk instead")
        if stats.up and not self.force:
            require_safe_to_stop(run, self.osd)
        run.mark_changed()
        run.tools.osds.stop(self.osd)
        wait_down(run, self.osd)
        found = run.tools.osds.activate(self.osd, disk.path)
        run.step(f"Waiting for OSD {self.osd} to come up")
        wait_up(run, [self.osd])
        put_record(run, found)
        return {"message": f"OSD {self.osd} runs from {disk.path}"}


@dataclass(frozen=True)
class OsdSetState(OsdOperation):
    """Let an OSD take data (in), or have its data moved elsewhere (out)."""

    state: Literal["in", "out"]
    force: bool = False

    task_name = "osd.set_state"
    summary = "Let an OSD take data, or not"
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"osd:{self.osd}",)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return None

    def check(self, snapshot: ClusterSnapshot) -> None:
        osd_node(snapshot, self.osd)
        if self.state == "out" and not self.force:
            require_enough(snapshot, self.osd)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"Setting OSD {self.osd} {self.state}")
        run.tools.osd_map.set_in(self.osd, self.state == "in")
        return {"message": f"OSD {self.osd} is {self.state}"}


@dataclass(frozen=True)
class OsdSetFlag(Operation):
    """Set or clear a flag for all OSDs, such as ``noout``."""

    flag: str
    on: bool

    task_name = "osd.set_flag"
    summary = "Set or clear a flag of all OSDs"
    role = Role.ADMINISTRATOR
    resumable = True

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.flag

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.flag not in FLAGS:
            raise BadRequest(f"{self.flag!r} is no option of OSDs; there are {', '.join(FLAGS)}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step(f"{'Setting' if self.on else 'Clearing'} {self.flag}")
        run.tools.osd_map.set_flag(self.flag, self.on)
        return {"message": f"{self.flag} is {'set' if self.on else 'cleared'}"}


def disks_lock(node: str) -> str:
    return f"disks:{node}"


def _is_known(snapshot: ClusterSnapshot, osd: int) -> bool:
    return osd in snapshot.osds or (snapshot.storage is not None and osd in snapshot.storage.osds)


def _check_weight(weight: float | None) -> None:
    if weight is not None and not 0 <= weight <= 1000:
        raise BadRequest(f"weight is from 0 to 1000, not {weight:g}")


def _taker_away(run: Run, osd: int) -> Callable[[], object]:
    def take_away() -> None:
        run.tools.osds.stop(osd)
        run.tools.osd_map.purge(osd)
        run.tools.osds.zap(osd)

    return take_away


def _record_dropper(run: Run, osd: int) -> Callable[[], object]:
    return lambda: drop_record(run, osd)


def _listed(osds: list[int]) -> str:
    return ", ".join(map(str, osds))
