"""What the operations share that receive a machine's snapshot: where its disks go, and how far they have come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model.domain import parse
from pvc_core.model.mirror import Transfer
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import VmState
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import check_name, parts_of, volumes_of
from pvc_core.ops.steps import commit
from pvc_core.ops.volume_steps import remove_image, require_pool
from pvc_core.ports import BlockStore, Incoming, Offer
from pvc_core.rules import lineage
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.transfer.incoming import Mark, mark_of, receive, set_mark


def volumes_for(offer: Offer) -> dict[str, str]:
    """``pool/volume`` at the sender -> here. Raises BadRequest for names that cannot be, and for two disks of which
    each would take the other's place."""
    found: dict[str, str] = {}
    for disk in offer.disks:
        pool, _, name = disk.volume.partition("/")
        check_name("volume", name)
        if disk.size < 1:
            raise BadRequest(f"volume {disk.volume} has {disk.size} bytes")
        here = f"{offer.pool or pool}/{name}"
        if here in found.values():
            raise BadRequest(f"two disks would become volume {here}: rename one of them, or give no pool")
        found[disk.volume] = here
    return found


def offer_of(transfer: Transfer) -> Offer:
    return msgspec.json.decode(transfer.offer, type=Offer)


def is_same(transfer: Transfer, offer: Offer, source: str) -> bool:
    """Whether the blocks that were received for a transfer are those of this offer too."""
    known = offer_of(transfer)
    return transfer.source == source and (known.snapshot, known.parent, known.disks, known.pool) == (
        offer.snapshot, offer.parent, offer.disks, offer.pool
    )  # fmt: skip


def is_here(snapshot: ClusterSnapshot, taken: VmSnapshot) -> bool:
    """Whether a snapshot has come whole already. Raises Conflict when another one has its name."""
    known = snapshot.vm_snapshots.get(taken.vm, {}).get(taken.name)
    if known is not None and known.created != taken.created:
        raise Conflict(
            f"there is another snapshot {taken.name} of this VM here: remove it, or send one of another name"
        )
    return known is not None


def own_volumes(snapshot: ClusterSnapshot, uuid: str) -> set[str]:
    """The volumes here that are a machine's, by its definition or by one of its snapshots."""
    taken = snapshot.vm_snapshots.get(uuid, {}).values()
    return {*volumes_of(snapshot, uuid), *(disk.volume for one in taken for disk in one.disks)}


def base_of(snapshot: ClusterSnapshot, offer: Offer, volume: str) -> str:
    """The snapshot here from which the blocks of this volume differ; empty for a whole disk."""
    parent = snapshot.vm_snapshots.get(offer.vm, {}).get(offer.parent)
    return offer.parent if parent and any(disk.volume == volume for disk in parent.disks) else ""


def check_offer(snapshot: ClusterSnapshot, offer: Offer, source: str) -> None:
    """Raise Refused unless this snapshot may be received here."""
    spec = parse(offer.config.xml)
    if not offer.vm == offer.snapshot.vm == spec.uuid:
        raise BadRequest(f"the offer is of VM {offer.vm}, its snapshot of {offer.snapshot.vm}, its XML of {spec.uuid}")
    if not source or source == snapshot.fsid:
        raise BadRequest(f"source: {source!r} must be the fsid of another cluster's Ceph")
    check_place(snapshot, offer, source)


def check_place(snapshot: ClusterSnapshot, offer: Offer, source: str) -> None:
    """The same without what the machine is made of, for an offer that lacks it still."""
    check_name("snapshot", offer.snapshot.name)
    check_name("VM", offer.config.name)
    _check_machine(snapshot, offer, source)
    volumes = volumes_for(offer)
    if offer.parent and offer.parent not in snapshot.vm_snapshots.get(offer.vm, {}):
        raise Conflict(f"snapshot {offer.parent} of VM {offer.config.name}, from which the blocks differ, is not here")
    own = own_volumes(snapshot, offer.vm)
    for here in volumes.values():
        require_pool(snapshot, here.partition("/")[0])
        if here in snapshot.volumes and here not in own:
            raise Conflict(f"there is a volume {here} already, which is not one of VM {offer.config.name}")


def _check_machine(snapshot: ClusterSnapshot, offer: Offer, source: str) -> None:
    name, mirror = offer.config.name, snapshot.mirrors.get(offer.vm)
    if offer.lineage is not None:
        if why := lineage.refusal(mirror, offer.lineage, source):
            raise Conflict(f"VM {name}: {why}")
    elif mirror is not None:
        raise Conflict(f"VM {name} is mirrored here: no other copy of it can be received")
    entry = snapshot.vms.get(offer.vm)
    if entry is not None and (entry.vm.state is not VmState.MIRROR or entry.holder):
        raise Conflict(f"VM {entry.vm.name} is here already, in state {entry.shown_state}, and would be overwritten")
    taken = snapshot.vm_names.get(name)
    if taken not in (None, offer.vm):
        raise Conflict(f"the name {name} is taken here by VM {taken}")


def find_transfer(snapshot: ClusterSnapshot, uuid: str, name: str, identity: str = "") -> Transfer:
    """The transfer of a snapshot, of this id where one is given. Raises NotFound."""
    transfer = snapshot.transfers.get(uuid)
    if transfer is None or transfer.snapshot != name or identity not in ("", transfer.id):
        raise NotFound(f"snapshot {name} of VM {uuid} is not being received")
    return transfer


def require_known(snapshot: ClusterSnapshot, uuid: str, name: str) -> None:
    """Raises NotFound for a snapshot that neither is being received nor has been."""
    if name not in snapshot.vm_snapshots.get(uuid, {}):
        find_transfer(snapshot, uuid, name)


def incoming(blocks: BlockStore, snapshot: ClusterSnapshot, uuid: str, name: str, ratio: float) -> Incoming:
    """How far a snapshot has come. Raises NotFound as ``require_known`` does, and Conflict when there is no room for
    the rest of it: the answer to a stream that ends for that may be lost."""
    require_known(snapshot, uuid, name)
    transfer = snapshot.transfers.get(uuid)
    if transfer is not None and transfer.snapshot == name:
        require_room(blocks, transfer, ratio)
        return Incoming(transfer.id, {volume: stored for volume, _, stored in progress(blocks, transfer)})
    return Incoming("", {}, complete=True)


def progress(blocks: BlockStore, transfer: Transfer) -> Iterator[tuple[str, int, int]]:
    """Each volume at the sender, with its size and how much of it is stored."""
    for disk in offer_of(transfer).disks:
        stored = 0
        with suppress(NotFound), blocks.open(*parts_of(transfer.volumes[disk.volume])) as image:
            mark = mark_of(image)
            if mark is not None and mark.transfer == transfer.id and mark.ready:
                stored = mark.stored(disk.size)
        yield disk.volume, disk.size, stored


def prepare_image(run: Run, transfer: Transfer, volume: str, size: int, base: str) -> None:
    """Make an image what the blocks expect that come: empty, or as the snapshot ``base``. One that has received blocks
    of this transfer stays as it is."""
    pool, name = parts_of(volume)
    blocks = run.tools.blocks
    fresh = not blocks.exists(pool, name)
    if fresh:
        blocks.create(pool, name, size)
    with blocks.open(pool, name, writable=True) as image:
        mark = mark_of(image)
        if mark is not None and mark.transfer == transfer.id and mark.ready:
            return
        set_mark(image, Mark(transfer.id))
        if not fresh and not base:
            image.resize(0)
    snapshots = blocks.inspect(pool, name).snapshots
    if base and (mark is not None or not snapshots or snapshots[-1].name != base):
        blocks.rollback(pool, name, base, run.part)
    with blocks.open(pool, name, writable=True) as image:
        if image.size != size:
            image.resize(size)
        set_mark(image, Mark(transfer.id, ready=True, base=base))


def forget(run: Run, transfer: Transfer) -> None:
    """Remove what an unfinished transfer has brought: new images wholly. The head of an image that was here before
    keeps its mark, by which whoever needs it knows that it has to be taken back to a snapshot first."""
    blocks, own = run.tools.blocks, own_volumes(run.snapshot, transfer.vm)
    for volume in transfer.volumes.values():
        pool, name = parts_of(volume)
        with suppress(NotFound):
            if any(one.name == transfer.snapshot for one in blocks.inspect(pool, name).snapshots):
                blocks.remove_snapshot(pool, name, transfer.snapshot)
        if volume not in own and volume not in run.snapshot.volumes:
            remove_image(run, pool, name)

    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.transfer(transfer.vm))
        if entry is not None and entry.value.id == transfer.id:
            transaction.delete(entry)

    commit(run, prepare)


def record_transfer(run: Run, transfer: Transfer) -> None:
    """Write the record of a transfer, new or changed."""

    def prepare(transaction: Transaction) -> None:
        for pool in {volume.partition("/")[0] for volume in transfer.volumes.values()}:
            transaction.check(run.tools.state.get(records.pool(pool)))
        entry = run.tools.state.find(records.transfer(transfer.vm))
        if entry is None:
            transaction.create(records.transfer(transfer.vm), transfer)
        else:
            transaction.update(entry, transfer)

    commit(run, prepare)


def require_room(blocks: BlockStore, transfer: Transfer, ratio: float) -> None:
    """Raise Conflict that names the pool when one is filled to this ratio."""
    stats = blocks.pools()
    for pool in sorted({volume.partition("/")[0] for volume in transfer.volumes.values()}):
        known = stats.get(pool)
        if known is None:
            raise NotFound(f"there is no pool {pool!r} in Ceph")
        capacity = known.stored_bytes + known.free_bytes
        if known.stored_bytes > ratio * capacity:
            raise Conflict(
                f"pool {pool} is full: it holds {known.stored_bytes} of {capacity} bytes, and takes up to {ratio:.0%}"
            )


def take(
    blocks: BlockStore,
    transfer: Transfer,
    volume: str,
    position: int,
    read: Callable[[int], bytes],
    check: Callable[[], object],
) -> int:
    """Write a stream of frames, which begins at ``position``, into the image of a volume (``pool/name`` at the sender);
    up to which byte it is stored now. Raises as ``pvc_core.transfer.incoming.receive`` does."""
    here = transfer.volumes.get(volume)
    if here is None:
        raise NotFound(f"snapshot {transfer.snapshot} that is being received has no volume {volume}")
    with blocks.open(*parts_of(here), writable=True) as image:
        mark = mark_of(image)
        if mark is None or mark.transfer != transfer.id or not mark.ready:
            raise Conflict(f"volume {here} is not ready for snapshot {transfer.snapshot}: offer it again")
        if position > mark.position and not mark.whole:
            raise BadRequest(f"position: volume {here} is stored up to byte {mark.position}, and not {position}")
        return receive(image, mark, read, check)
