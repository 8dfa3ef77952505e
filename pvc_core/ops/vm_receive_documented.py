"""Receive a machine's snapshot by the calls that PVC's API documents: each volume by itself, and then the rest.

They become a transfer like that of ``vm_receive``, whose offer comes bit by bit. A volume is begun, written from its
first byte to its last, and sealed; what breaks off is begun anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from pvc_core.errors import BadRequest, Busy, Conflict
from pvc_core.model.mirror import Transfer
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.ops import receiving
from pvc_core.ops.base import Run
from pvc_core.ops.common import parts_of, vm_lock
from pvc_core.ops.vm_receive import VmReceiveBegin, VmReceiveCommit
from pvc_core.ports import BlockStore, Offer
from pvc_core.transfer.frames import Damaged, Frame
from pvc_core.transfer.images import write_frames
from pvc_core.transfer.incoming import Mark, mark_of, set_mark


def block_offer(vm: str, snapshot: str, disk: SnapshotDisk, parent: str = "") -> Offer:
    """What is known of a snapshot when the first of its volumes comes. ``vm`` is the machine's uuid, or its name where
    it is not here yet."""
    taken = VmSnapshot(vm, snapshot, 0.0, Quiesced.PAUSED, (disk,))
    return Offer(vm, taken, VmConfig(vm, ""), taken.disks, parent)


def size_at(snapshot: ClusterSnapshot, vm: str, parent: str, volume: str) -> int:
    """Bytes of a volume at a machine's snapshot here. Raises Conflict when that has no such volume."""
    taken = snapshot.vm_snapshots.get(vm, {}).get(parent)
    for disk in taken.disks if taken is not None else ():
        if disk.volume == volume:
            return disk.size
    raise Conflict(f"snapshot {parent} of volume {volume}, from which the blocks differ, is not here: send it whole")


@dataclass(frozen=True)
class VmReceiveBlock(VmReceiveBegin):
    """``offer`` is that of ``block_offer``, and ``source`` says who sends it. The volume is empty after this, or as its
    parent."""

    task_name = "vm.receive.block"
    summary = "Make ready for a volume of a VM's snapshot from another cluster"

    def _check_offer(self, snapshot: ClusterSnapshot) -> None:
        receiving.check_place(snapshot, self.offer, self.source)
        for disk in self.offer.disks if self.offer.parent else ():
            size_at(snapshot, self.vm, self.offer.parent, disk.volume)

    def _joined(self, known: Transfer) -> Transfer | None:
        if (known.source, known.snapshot) != (self.source, self.offer.snapshot.name):
            return None
        before = receiving.offer_of(known)
        disks = tuple({disk.volume: disk for disk in (*before.disks, *self.offer.disks)}.values())
        return _with(known, replace(before, disks=disks, snapshot=replace(before.snapshot, disks=disks)))

    def _prepare(self, run: Run, transfer: Transfer, here: str, size: int) -> None:
        _begin_anew(run, transfer, here, receiving.base_of(run.snapshot, self.offer, here))
        super()._prepare(run, transfer, here, size)


@dataclass(frozen=True)
class VmReceiveConfig(VmReceiveCommit):
    """The same as ``VmReceiveCommit``, with the offer that the blocks came without."""

    offer: Offer

    task_name = "vm.receive.config"
    summary = "Complete a VM's snapshot from another cluster with its configuration"

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.offer.config.name

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return tuple(dict.fromkeys((vm_lock(self.offer.vm), *super().locks(snapshot))))

    def _found(self, snapshot: ClusterSnapshot) -> Transfer:
        if self.vm not in (self.offer.vm, self.offer.config.name):
            raise BadRequest(f"the configuration is of VM {self.offer.config.name} ({self.offer.vm}), not of {self.vm}")
        if self.snapshot != self.offer.snapshot.name:
            raise BadRequest(f"the configuration is of snapshot {self.offer.snapshot.name}, not of {self.snapshot}")
        receiving.is_here(snapshot, self.offer.snapshot)
        transfer = super()._found(snapshot)
        came = set(transfer.volumes.values())
        offer = self.offer
        if came == {disk.volume for disk in offer.disks}:  # each in the pool of its original
            offer = replace(offer, pool="")
        named = set(receiving.volumes_for(offer).values())
        if missing := named - came:
            raise Conflict(f"volume {', '.join(sorted(missing))} of this snapshot has not come: send it first")
        if more := came - named:
            raise Conflict(f"volume {', '.join(sorted(more))} has come, and is no disk of this snapshot")
        return _with(transfer, offer)

    def _is_done(self, snapshot: ClusterSnapshot) -> bool:
        taken = self.offer.snapshot
        return self.vm not in snapshot.transfers and receiving.is_here(snapshot, taken)


def write_block(
    blocks: BlockStore, transfer: Transfer, volume: str, content: Callable[[], tuple[int, Iterator[Frame]]]
) -> None:
    """Write a volume that was just begun. ``content`` answers its size and its blocks. Whoever calls it holds the
    volume's lock."""
    pool, name = parts_of(volume)
    with blocks.open(pool, name, writable=True) as image:
        mark = mark_of(image)
        if mark is None or mark.transfer != transfer.id or not mark.ready or mark.position:
            raise Busy(f"volume {volume} has taken another stream of snapshot {transfer.snapshot}: send it again")
        size, frames = content()
        set_mark(image, Mark(transfer.id))  # what breaks off from here on leaves it to be begun anew
        if image.size != size:
            image.resize(size)
        write_frames(image, _within(frames, size), lambda _: None)
        set_mark(image, Mark(transfer.id, ready=True, position=size))


def seal_block(blocks: BlockStore, transfer: Transfer, volume: str) -> None:
    """Make the RBD snapshot of a volume that has come. The same again succeeds; the lock is as for ``write_block``."""
    pool, name = parts_of(volume)
    with blocks.open(pool, name) as image:
        mark = mark_of(image)
    if mark is None or mark.transfer != transfer.id or not mark.position:
        raise Conflict(f"volume {volume} has not come whole: send it first")
    if all(one.name != transfer.snapshot for one in blocks.inspect(pool, name).snapshots):
        blocks.create_snapshot(pool, name, transfer.snapshot)
    with blocks.open(pool, name, writable=True) as image:
        set_mark(image, replace(mark, whole=True))


def _with(transfer: Transfer, offer: Offer) -> Transfer:
    """A transfer with another offer."""
    return replace(transfer, volumes=receiving.volumes_for(offer), offer=msgspec.json.encode(offer).decode())


def _begin_anew(run: Run, transfer: Transfer, volume: str, base: str) -> None:
    """Let a volume be prepared once more that has received anything of this transfer, or was prepared otherwise."""
    pool, name = parts_of(volume)
    blocks = run.tools.blocks
    if not blocks.exists(pool, name):
        return
    with blocks.open(pool, name, writable=True) as image:
        mark = mark_of(image)
        if mark is None or mark.transfer != transfer.id or mark == Mark(transfer.id, ready=True, base=base):
            return
        if mark.position and any(one.name == transfer.snapshot for one in blocks.inspect(pool, name).snapshots):
            blocks.remove_snapshot(pool, name, transfer.snapshot)
        set_mark(image, Mark(transfer.id))


def _within(frames: Iterator[Frame], size: int) -> Iterator[Frame]:
    for frame in frames:
        if frame.end > size:
            raise Damaged(f"it has a block at byte {frame.offset}, and the disk has {size} bytes")
        yield frame
