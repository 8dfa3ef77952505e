"""Two clusters in memory, each of which the other one reaches as its peer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvc_core.errors import DriverUnavailable, NotFound
from pvc_core.fakes.peers import FakePeers
from pvc_core.model.mirror import Lineage
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ops import receiving
from pvc_core.ops.vm_mirror import VmMirrorRemove
from pvc_core.ops.vm_mirror_second import VmMirrorTakeOver
from pvc_core.ops.vm_receive import VmReceiveAbandon, VmReceiveBegin, VmReceiveCommit
from pvc_core.ops.vm_snapshot import VmSnapshotRemove
from pvc_core.ports import Incoming, Offer, Word
from pvc_core.state import records
from tests.unit.ops.house import House

RATIO = 0.8  # to which a pool is filled


@dataclass
class HousePeer:
    """A cluster as another one sees it. ``cuts`` are after how many bytes the next streams break off; ``away`` cuts it
    off altogether."""

    house: House
    source: str
    cuts: list[int] = field(default_factory=list)
    away: bool = False
    received: int = 0  # bytes

    def begin(self, offer: Offer) -> Incoming:
        self._do(VmReceiveBegin(offer.vm, offer, self.source))
        return self._incoming(offer.vm, offer.snapshot.name)

    def send(self, transfer: str, volume: str, position: int, parts: Iterable[bytes], since: str = "") -> int:
        self._answer()
        found = self._transfer(transfer)
        read = Reader(parts, self.cuts.pop(0) if self.cuts else None)

        def check() -> None:
            self._answer()
            receiving.require_room(self.house.blocks, found, RATIO)

        try:
            return receiving.take(self.house.blocks, found, volume, position, read, check)
        except Exception as error:
            if read.broke:
                raise DriverUnavailable("the connection broke off") from error
            raise
        finally:
            self.received += read.count

    def positions(self, transfer: str) -> Incoming:
        self._answer()
        found = self._transfer(transfer)
        return self._incoming(found.vm, found.snapshot)

    def commit(self, transfer: str) -> None:
        found = self._transfer(transfer)
        self._do(VmReceiveCommit(found.vm, found.snapshot))

    def abandon(self, transfer: str) -> None:
        found = self._transfer(transfer)
        self._do(VmReceiveAbandon(found.vm, found.snapshot))

    def snapshots(self, vm: str) -> Sequence[VmSnapshot]:
        self._answer()
        return tuple(self.house.view.snapshot().vm_snapshots.get(vm, {}).values())

    def remove_snapshot(self, vm: str, snapshot: str) -> None:
        self._do(VmSnapshotRemove(vm, snapshot))

    def hear(self) -> Word:
        self._answer()
        snapshot = self.house.view.snapshot()
        return Word(snapshot.fsid, self.house.lab.clock.now(), dict(snapshot.mirrors))

    def take_over(self, vm: str, lineage: Lineage, start: bool) -> None:
        self._do(VmMirrorTakeOver(vm, lineage, start))

    def forget_mirror(self, vm: str) -> None:
        with suppress(NotFound):
            self._do(VmMirrorRemove(vm))

    def close(self) -> None:
        pass

    def _do(self, operation: Any) -> None:
        self._answer()
        self.house.run(operation)

    def _answer(self) -> None:
        if self.away:
            raise DriverUnavailable("the other cluster cannot be reached")

    def _incoming(self, vm: str, snapshot: str) -> Incoming:
        return receiving.incoming(self.house.blocks, self.house.view.snapshot(), vm, snapshot, RATIO)

    def _transfer(self, transfer: str) -> Any:
        self.house.lab.cycle()
        return next(one for one in self.house.view.snapshot().transfers.values() if one.id == transfer)


class Reader:
    """Reads chunks as one stream, which may break off."""

    def __init__(self, frames: Iterable[bytes], cut: int | None) -> None:
        self._chunks: Iterator[bytes] = iter(frames)
        self._left = b""
        self._cut = cut
        self.count = 0
        self.broke = False

    def __call__(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._chunks, b"")
        part, self._left = self._left[:size], self._left[size:]
        if self._cut is not None and self.count + len(part) > self._cut:
            self.broke = True
            return b""
        self.count += len(part)
        return part


class Pair:
    """``east`` has machines, ``west`` gets their copies."""

    def __init__(self, directory: Path) -> None:
        self.east, self.west = House(directory / "east"), House(directory / "west")
        for name, house in (("east", self.east), ("west", self.west)):
            house.blocks.fsid = f"fsid-{name}"
            house.state.put(records.STORAGE, house.blocks.status(house.lab.clock.now()))
            house.lab.cycle()
        self.to_west, self.to_east = HousePeer(self.west, "fsid-east"), HousePeer(self.east, "fsid-west")
        self.east.peers = FakePeers({"west": self.to_west})
        self.west.peers = FakePeers({"east": self.to_east})
