"""Send a machine's snapshot to another cluster: several volumes at once, each taken up again after a cut."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from typing import TypeVar

from pvc_core.errors import Busy, Cancelled, ClaimLost, Conflict, DriverError, DriverUnavailable, Failed, PvcError
from pvc_core.model.mirror import Lineage
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm_snapshot import SnapshotDisk, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import snapshot_lock
from pvc_core.ops.meter import Meter
from pvc_core.ports import Incoming, Offer, Peer
from pvc_core.state import records
from pvc_core.transfer.frames import Frame, encode
from pvc_core.transfer.images import read_frames
from pvc_core.transfer.plain import write_diff, write_raw

T = TypeVar("T")

log = logging.getLogger(__name__)

AT_ONCE = 3  # volumes
PATIENCE = 300.0  # seconds without a byte of progress, after which it fails
RETRY_INTERVAL = 2.0  # seconds between two tries
LOOK_INTERVAL = 0.5  # seconds between two reports of progress


def shipping_locks(uuid: str, *snapshots: str) -> tuple[str, ...]:
    """What an operation holds that ships a snapshot, with the one from which it differs: a machine is shipped once at a
    time, and may be started, moved and stopped meanwhile."""
    return (f"shipping:{uuid}", *(snapshot_lock(uuid, name) for name in snapshots if name))


def newest_shared(snapshot: ClusterSnapshot, peer: Peer, taken: VmSnapshot) -> VmSnapshot | None:
    """The newest earlier snapshot of the machine that both sides have; None when there is none."""
    there = {(one.name, one.created) for one in peer.snapshots(taken.vm)}
    here = snapshot.vm_snapshots.get(taken.vm, {}).values()
    shared = [one for one in here if (one.name, one.created) in there and one.order < taken.order]
    return max(shared, key=lambda one: one.order, default=None)


def ship(
    run: Run,
    peer: Peer,
    taken: VmSnapshot,
    *,
    parent: VmSnapshot | None = None,
    pool: str = "",
    lineage: Lineage | None = None,
) -> int:
    """Send a snapshot, whole or as it differs from ``parent``; the bytes that were sent. It is one step of the run,
    which holds ``shipping_locks``.

    What was cut is tried again for as long as it gets on. What arrived before a failure is kept at the other side, so
    that sending the same snapshot again goes on from there; a transfer that is cancelled is removed there. By the
    documented calls each volume begins anew, and what arrived stays. Raises what the peer refuses with, Failed when it
    was out of reach for too long, and Cancelled."""
    config = run.tools.state.get(records.vm_snapshot_config(taken.vm, taken.name)).value
    if parent is not None and any(
        one.name == parent.name and one.created not in (parent.created, int(parent.created))  # see ``Peer.snapshots``
        for one in peer.snapshots(taken.vm)
    ):
        raise Conflict(f"the other side's snapshot {parent.name} is of another moment: name another one")
    offer = Offer(taken.vm, taken, config, taken.disks, parent.name if parent else "", pool, lineage)
    shipment = _Shipment(run, peer, offer, frozenset(disk.volume for disk in parent.disks) if parent else frozenset())
    run.step(f"Sending snapshot {taken.name} of VM {config.name}")
    return shipment.run()


class _Shipment:
    def __init__(self, run: Run, peer: Peer, offer: Offer, shared: frozenset[str]) -> None:
        self._run = run
        self._peer = peer
        self._offer = offer
        self._shared = shared  # volumes that the parent has too
        self._stop = threading.Event()
        self._incoming = Incoming("", {})
        self._positions: dict[str, int] = {}
        self._sent = dict.fromkeys((disk.volume for disk in offer.disks), 0)

    def run(self) -> int:
        try:
            self._incoming = self._persist(lambda: self._peer.begin(self._offer), Busy)
            if not self._incoming.complete:
                self._run.mark_changed()
                self._positions.update(self._incoming.positions)
                self._send_all()
                self._run.checkpoint()
                self._persist(lambda: self._peer.commit(self._incoming.id), DriverUnavailable, Busy)
        except ClaimLost:
            raise
        except Cancelled:
            raise Cancelled("cancelled on request", left=self._abandon()) from None
        except PvcError as error:
            if not self._incoming.id:
                raise
            name = self._offer.snapshot.name
            left = f"what arrived of snapshot {name} waits at the other side: send it again, and it is completed there"
            raise Failed(str(error), left=(left,)) from error
        return sum(self._sent.values())

    def _send_all(self) -> None:
        missing = [disk for disk in self._offer.disks if self._positions.get(disk.volume, 0) < disk.size]
        reported = sum(self._positions.values())
        meter = Meter(self._run, max(1, sum(disk.size for disk in self._offer.disks) - reported))
        with ThreadPoolExecutor(AT_ONCE, "shipping") as pool:
            futures = [pool.submit(self._send_volume, disk) for disk in missing]
            try:
                while not all(future.done() for future in futures):
                    wait(futures, LOOK_INTERVAL, FIRST_EXCEPTION)
                    self._run.checkpoint()
                    _raise_first(futures)
                    position = sum(self._positions.values())
                    meter.add(position - reported)
                    reported = position
                _raise_first(futures)
            except BaseException:
                self._stop.set()
                raise

    def _send_volume(self, disk: SnapshotDisk) -> None:
        """Send one volume until all of it has come, however often it is cut."""
        position = self._positions.get(disk.volume, 0)
        clock, last = self._run.tools.clock, self._run.tools.clock.monotonic()
        while True:
            try:
                stored = self._stream(disk, position)
                if stored < disk.size:
                    raise DriverError(f"the other side has {stored} of the {disk.size} bytes of volume {disk.volume}")
                self._positions[disk.volume] = disk.size
                return
            except (DriverUnavailable, Busy) as error:
                log.warning("volume %s was cut off after byte %d: %s", disk.volume, position, error)
                before = position
                with suppress(DriverUnavailable, Busy):
                    position = self._peer.positions(self._incoming.id).positions[disk.volume]
                if position > before:
                    last = clock.monotonic()
                elif clock.monotonic() - last > PATIENCE:
                    raise
            if self._stop.wait(RETRY_INTERVAL):
                return

    def _stream(self, disk: SnapshotDisk, position: int) -> int:
        pool, name = disk.volume.split("/", 1)
        since = self._offer.parent if disk.volume in self._shared else ""
        with self._run.tools.blocks.open(pool, name, snapshot=self._offer.snapshot.name) as image:
            frames = self._counted(disk.volume, read_frames(image, since, position))
            with closing(self._encoded(disk, since, frames)) as parts:
                watched = self._watched(disk.volume, parts)
                return self._peer.send(self._incoming.id, disk.volume, position, watched, since)

    def _encoded(self, disk: SnapshotDisk, since: str, frames: Iterator[Frame]) -> Generator[bytes, None, None]:
        if not self._incoming.documented:
            return encode(frames)
        return (
            write_diff(frames, since, self._offer.snapshot.name, disk.size) if since else write_raw(frames, disk.size)
        )

    def _counted(self, volume: str, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            yield frame
            self._positions[volume] = frame.end

    def _watched(self, volume: str, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            if self._stop.is_set():
                raise Cancelled("another volume of this snapshot cannot be sent")
            self._sent[volume] += len(part)
            yield part

    def _persist(self, action: Callable[[], T], *passing: type[PvcError]) -> T:
        """Do it again and again while it fails in a way that passes, for as long as patience lasts."""
        clock = self._run.tools.clock
        give_up = clock.monotonic() + PATIENCE
        while True:
            try:
                return action()
            except passing as error:
                if clock.monotonic() > give_up:
                    raise
                log.warning("snapshot %s waits: %s", self._offer.snapshot.name, error)
            self._run.wait("the other side", lambda _: False, RETRY_INTERVAL)

    def _abandon(self) -> tuple[str, ...]:
        """Have the other side clear away what arrived, but for a task that will be begun again."""
        if not self._incoming.id or self._incoming.complete or self._run.interrupted:
            return ()
        try:
            self._peer.abandon(self._incoming.id)
        except PvcError as error:
            return (f"what arrived of snapshot {self._offer.snapshot.name} is still at the other side ({error})",)
        return ()


def _raise_first(futures: list[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()
