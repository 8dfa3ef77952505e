"""Ceph's storage daemons: on the disks of one node, and in the map of the whole storage cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pvc_core.model.storage import Device, Osd, OsdStats


class Osds(Protocol):
    """The node's disks, and the OSDs on them. Everything here works on the node that calls it."""

    def devices(self) -> list[Device]:
        """Every whole disk of this node, in the order of their paths."""
        ...

    def device(self, path: str) -> Device:
        """The disk of this path, which may be a link to it. Raises NotFound naming those there are."""
        ...

    def create(self, device: str, count: int, db_device: str, db_size: int, report: Callable[[str], None]) -> list[Osd]:
        """Make ``count`` OSDs of equal size on an empty device and start them. ``db_device`` is this node's database
        volume group, with ``db_size`` bytes for each OSD; empty for a database beside the data. ``report`` is told
        each step: one for the device, and one for each OSD. Raises NotFound for no disk of this node and Conflict for
        one that holds something; whatever ends it, what it made by then is taken away again."""
        ...

    def replace(self, osd: int, device: str, db_device: str, db_size: int, report: Callable[[str], None]) -> Osd:
        """Make the OSD ``osd``, which was destroyed with its id kept, anew on an empty device, and start it. Reports
        and raises as ``create`` does; what breaks off leaves it destroyed as before."""
        ...

    def activate(self, osd: int, device: str) -> Osd:
        """Start an OSD that lies on a device, which may have come from another node or under another name. NotFound
        when it does not lie there, Conflict when it is another cluster's."""
        ...

    def stop(self, osd: int) -> None:
        """Stop an OSD's daemon and keep it from being started again; nothing when it does not run here."""
        ...

    def zap(self, osd: int) -> None:
        """Wipe what an OSD that is stopped has on this node's disks; nothing when there is none of it."""
        ...

    def create_db_group(self, device: str) -> None:
        """Make an empty device this node's volume group for databases. Conflict when there is one already."""
        ...

    def db_group(self) -> str:
        """The node's volume group for databases, empty when there is none."""
        ...

    def present(self) -> Sequence[Osd]:
        """The OSDs that lie on this node's disks, whether they run or not, by id."""
        ...


@dataclass(frozen=True, slots=True)
class OsdLoad:
    """What an OSD still has to do with."""

    groups: int  # placement groups with a copy on it
    unclean: int  # those of them that do not have all their copies, each where it belongs
    moving: int  # those that are being copied elsewhere, or wait for their turn
    objects: int  # copies in all of them that are still to be made or moved


class OsdMap(Protocol):
    """What Ceph as a whole says of its OSDs; may be asked from anywhere. All raise NotFound for an OSD that Ceph does
    not have."""

    def stats(self) -> dict[int, OsdStats]: ...

    def load(self, osd: int) -> OsdLoad: ...

    def set_in(self, osd: int, taking: bool) -> None:
        """Let an OSD take data, or have its data moved elsewhere."""
        ...

    def set_weight(self, osd: int, weight: float) -> None:
        """Its share of the data among all, of an OSD that was up once."""
        ...

    def set_flag(self, flag: str, on: bool) -> None:
        """Set or clear a flag of the map, such as ``noout``."""
        ...

    def unsafe_to_stop(self, osd: int) -> str:
        """Why data could not be read or written any more without it, empty when it is ``ok-to-stop``."""
        ...

    def unsafe_to_destroy(self, osd: int) -> str:
        """Why data could be lost with what is on it, empty when it is ``safe-to-destroy``."""
        ...

    def destroy(self, osd: int) -> None:
        """Give up what is on an OSD that is stopped, and keep its id and its place for another. Conflict while it is
        up."""
        ...

    def purge(self, osd: int) -> None:
        """Forget an OSD that is stopped. Conflict while it is up."""
        ...
