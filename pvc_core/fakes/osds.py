"""The disks of one node in memory, and Ceph's map of the OSDs on the disks of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pvc_core.errors import Conflict, DriverError, NotFound
from pvc_core.model.storage import Device, Osd, OsdStats
from pvc_core.ports import OsdLoad

FAKE_SIZE = 1000  # KiB of each OSD, with one for each object


@dataclass
class FakeOsd:
    """What Ceph knows of one OSD. ``objects`` are the copies on it; they move off by ``pace`` with each look."""

    node: str
    uuid: str
    up: bool = False
    in_: bool = True
    weight: float = 1.0
    destroyed: bool = False
    objects: int = 0


class FakeOsdMap:
    """See ``pvc_core.ports.OsdMap``. ``last_copies`` are OSDs without which data could not be read; ``pace`` is how
    many objects leave an OSD that is out, each time that somebody looks; 0: they have no place to go."""

    def __init__(self) -> None:
        self.osds: dict[int, FakeOsd] = {}
        self.flags: set[str] = set()
        self.last_copies: set[int] = set()
        self.pace = 10

    def stats(self) -> dict[int, OsdStats]:
        return {
            number: OsdStats(
                up=osd.up,
                in_=osd.in_,
                node=osd.node,
                uuid=osd.uuid,
                weight=osd.weight,
                pgs=osd.objects,
                kb=FAKE_SIZE,
                used_kb=osd.objects,
                device_class="ssd",
            )
            for number, osd in self.osds.items()
        }

    def load(self, osd: int) -> OsdLoad:
        found = self._find(osd)
        if not found.in_:
            found.objects = max(0, found.objects - self.pace)
        left = 0 if found.in_ else found.objects
        return OsdLoad(groups=found.objects, unclean=left, moving=left if self.pace else 0, objects=left)

    def set_in(self, osd: int, taking: bool) -> None:
        self._find(osd).in_ = taking

    def set_weight(self, osd: int, weight: float) -> None:
        self._find(osd).weight = weight

    def set_flag(self, flag: str, on: bool) -> None:
        (self.flags.add if on else self.flags.discard)(flag)

    def unsafe_to_stop(self, osd: int) -> str:
        needed = self._find(osd).objects and osd in self.last_copies
        return f"stopping osd.{osd} would take the only copy" if needed else ""

    def unsafe_to_destroy(self, osd: int) -> str:
        return f"osd.{osd} has {self.osds[osd].objects} objects" if self._find(osd).objects else ""

    def destroy(self, osd: int) -> None:
        self._find_stopped(osd).destroyed = True
        self.osds[osd].objects = 0

    def purge(self, osd: int) -> None:
        self._find_stopped(osd)
        del self.osds[osd]

    def add(self, node: str, number: int | None = None) -> int:
        """A new OSD, or one that was destroyed, as its own daemon reports it."""
        number = min(set(range(len(self.osds) + 1)) - set(self.osds)) if number is None else number
        self.osds[number] = FakeOsd(node, f"uuid-{node}-{number}", up=True)
        return number

    def _find(self, osd: int) -> FakeOsd:
        if osd not in self.osds:
            raise NotFound(f"Ceph has no OSD {osd}")
        return self.osds[osd]

    def _find_stopped(self, osd: int) -> FakeOsd:
        if self._find(osd).up:
            raise Conflict(f"OSD {osd} is up: stop it first")
        return self.osds[osd]


class FakeOsds:
    """See ``pvc_core.ports.Osds``. ``broken`` is a disk on which no OSD can be made."""

    def __init__(self, node: str = "n1", disks: Sequence[Device] = (), osd_map: FakeOsdMap | None = None) -> None:
        self.map = osd_map or FakeOsdMap()
        self.broken = ""
        self._node = node
        self._disks = {disk.path: disk for disk in disks}
        self._osds: dict[int, Osd] = {}
        self._group = ""

    def devices(self) -> list[Device]:
        return [replace(disk, holds=disk.holds or self._use(path)) for path, disk in sorted(self._disks.items())]

    def device(self, path: str) -> Device:
        found = next((disk for disk in self.devices() if disk.path == path), None)
        if found is None:
            raise NotFound(f"{path} is no disk of this node; there are {', '.join(self._disks) or 'none'}")
        return found

    def create(self, device: str, count: int, db_device: str, db_size: int, report: Callable[[str], None]) -> list[Osd]:
        self._require_empty(device)
        report(f"Partitioning {device}")
        made: list[Osd] = []
        try:
            for number in range(1, count + 1):
                report(f"Making OSD {number} of {count} on {device}")
                self._require_sound(device)
                made.append(self._make(self.map.add(self._node), device, db_device, db_size))
        except BaseException:
            for osd in made:
                del self.map.osds[osd.id]
                del self._osds[osd.id]
            raise
        return made

    def replace(self, osd: int, device: str, db_device: str, db_size: int, report: Callable[[str], None]) -> Osd:
        self._require_empty(device)
        report(f"Partitioning {device}")
        report(f"Making OSD {osd} on {device}")
        self._require_sound(device)
        before = self.map.osds[osd]
        if not before.destroyed:
            raise Conflict(f"OSD {osd} is in use")
        self.map.add(self._node, osd)
        self.map.osds[osd].in_ = before.in_
        return self._make(osd, device, db_device, db_size)

    def activate(self, osd: int, device: str) -> Osd:
        self.device(device)
        found = self._osds.get(osd)
        if found is None or found.device != device:
            raise NotFound(f"OSD {osd} does not lie on {device}")
        self.map.osds[osd].up = True
        return found

    def stop(self, osd: int) -> None:
        if osd in self._osds and osd in self.map.osds:
            self.map.osds[osd].up = False

    def zap(self, osd: int) -> None:
        self._osds.pop(osd, None)

    def create_db_group(self, device: str) -> None:
        if self._group:
            raise Conflict(f"the databases of this node's OSDs go to {self._group} already")
        self._require_empty(device)
        self._group = device

    def db_group(self) -> str:
        return self._group

    def present(self) -> Sequence[Osd]:
        return [self._osds[number] for number in sorted(self._osds)]

    def _make(self, number: int, device: str, db_device: str, db_size: int) -> Osd:
        database = f"{db_device}-{number}" if db_device else ""
        osd = Osd(number, self._node, device, database, db_size if db_device else 0, self.map.osds[number].uuid)
        self._osds[number] = osd
        return osd

    def _require_sound(self, device: str) -> None:
        if device == self.broken:
            raise DriverError(f"{device} cannot be written")

    def _require_empty(self, device: str) -> None:
        disk = self.device(device)
        if disk.holds:
            raise Conflict(f"{device} is not empty, it holds {disk.holds}: wipe it first, or take another disk")

    def _use(self, path: str) -> str:
        if path == self._group:
            return "the databases of OSDs"
        return ", ".join(f"osd.{osd.id}" for osd in self.present() if osd.device == path)
