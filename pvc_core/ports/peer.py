"""Other clusters, by their API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pvc_core.model.mirror import Lineage, Word
from pvc_core.model.vm_snapshot import SnapshotDisk, VmConfig, VmSnapshot


@dataclass(frozen=True, slots=True)
class Offer:
    """A snapshot that one cluster wants to give to another. ``parent`` names the snapshot, present at both, from which
    the blocks differ; empty for whole images. ``pool`` overrules the pools of the disks."""

    vm: str  # uuid
    snapshot: VmSnapshot
    config: VmConfig
    disks: tuple[SnapshotDisk, ...]
    parent: str = ""
    pool: str = ""
    lineage: Lineage | None = None  # None: a plain copy, of which neither side is the mirror


@dataclass(frozen=True, slots=True)
class Incoming:
    """How far a transfer has come at the receiver: bytes of each volume (``pool/name`` at the sender) that are safely
    stored, counted from the image's start."""

    id: str
    positions: Mapping[str, int]
    complete: bool = False
    documented: bool = False  # by the calls that PVC's API documents: see ``Peer.send``


@dataclass(frozen=True, slots=True)
class PeerAccess:
    """How to reach another cluster. ``pool`` is where copies of our machines go there, empty for pools of the same
    names; ``bandwidth`` is the most that is sent, in bytes a second, 0 for no limit."""

    api_uri: str
    token: str = field(repr=False)
    verify_ssl: bool = True
    pool: str = ""
    bandwidth: int = 0


class PeerDirectory(Protocol):
    """Who knows how to reach the other clusters."""

    def names(self) -> Sequence[str]: ...

    def find(self, name: str) -> PeerAccess:
        """Raises NotFound."""
        ...


class Peer(Protocol):
    """One other cluster. Raises DriverUnavailable when it does not answer, DriverError with its words when it refuses,
    Forbidden when it does not take our token, NotFound and Conflict as it says."""

    def begin(self, offer: Offer) -> Incoming:
        """Offer a snapshot. The same offer made again goes on where the first one stopped. Conflict when it lacks the
        parent, holds another cluster's later epoch, has a machine of that uuid which is no mirror of ours, or is
        receiving another snapshot of it."""
        ...

    def send(self, transfer: str, volume: str, position: int, parts: Iterable[bytes], since: str = "") -> int:
        """Send encoded frames of one volume, from ``position`` on; the position that is stored in the end. Where the
        transfer is by the documented calls, ``parts`` are the whole disk, or the stream of ``rbd export-diff`` with
        what differs from the snapshot ``since``, and always from the start."""
        ...

    def positions(self, transfer: str) -> Incoming: ...

    def commit(self, transfer: str) -> None:
        """Have the receiver make the snapshot of all volumes, and the machine's record, once each volume has come
        whole. The same commit made again succeeds."""
        ...

    def abandon(self, transfer: str) -> None:
        """Have the receiver forget an unfinished transfer and its blocks; nothing when there is none. DriverError when
        it has no call for that."""
        ...

    def snapshots(self, vm: str) -> Sequence[VmSnapshot]:
        """The complete snapshots that the other side has of a machine; none when it does not know it. Where only the
        documented calls tell of them, their times are whole seconds and their disks are missing."""
        ...

    def remove_snapshot(self, vm: str, snapshot: str) -> None:
        """No error when there is none."""
        ...

    def hear(self) -> Word:
        """What the other side says of itself and of all its mirrors."""
        ...

    def take_over(self, vm: str, lineage: Lineage, start: bool) -> None:
        """Tell of a promotion, and wait until the other side has acted on it. A lineage that it leads makes it the
        primary, from the last promotion's base, and has it start the machine when asked; one that we lead makes it
        refuse any earlier one that may still be on its way. The same call made again succeeds; Conflict when it knows
        a later epoch, is the primary of another lineage, or lacks the base."""
        ...

    def forget_mirror(self, vm: str) -> None:
        """Have the other side forget that the machine has a mirror here; nothing when it knows of none."""
        ...

    def close(self) -> None: ...


class Peers(Protocol):
    """The other clusters that this one knows by name; addresses and tokens are kept where people own them."""

    def names(self) -> Sequence[str]: ...

    def connect(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> Peer:
        """NotFound when there is none of that name."""
        ...
