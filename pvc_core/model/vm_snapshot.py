"""Snapshots of whole machines: all disks at one moment, with the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pvc_core.model.vm import Tag, VmMeta


class Quiesced(StrEnum):
    """What state the disks of a snapshot are in."""

    GUEST = "guest"  # the guest's agent had frozen its file systems
    PAUSED = "paused"  # all disks at one moment between two instructions, as after a loss of power
    OFF = "off"  # the machine did not run


class Purpose(StrEnum):
    """Who made a snapshot, and so whose retention removes it."""

    USER = "user"
    BACKUP = "backup"
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True)
class SnapshotDisk:
    """One disk; its RBD snapshot has the machine's snapshot's name."""

    volume: str  # pool/name
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class VmSnapshot:
    """A record of it exists only once all its disks were snapshot, and as long as none of them was removed."""

    vm: str  # uuid
    name: str
    created: float  # seconds since the epoch, by the clock of the cluster where the machine ran
    quiesced: Quiesced
    disks: tuple[SnapshotDisk, ...]
    purpose: Purpose = Purpose.USER
    number: int = 0  # above those that the machine had then: the clocks of two sites do not tell which came first

    @property
    def order(self) -> tuple[int, float]:
        """What sorts the snapshots of one machine from the oldest to the newest."""
        return self.number, self.created


@dataclass(frozen=True, slots=True)
class VmConfig:
    """What a machine was defined as when it was snapshot."""

    name: str
    xml: str
    meta: VmMeta = VmMeta()  # noqa: RUF009 - frozen
    tags: tuple[Tag, ...] = ()
