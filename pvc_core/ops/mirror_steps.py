"""What the operations on mirrors share: finding records and peers, sending, and writing both at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count

from pvc_core.errors import Cancelled, ClaimLost, Conflict, Failed, NotFound, PvcError, Unavailable
from pvc_core.model.mirror import Mirror
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import Vm, VmState
from pvc_core.model.vm_snapshot import Purpose, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, find_vm
from pvc_core.ops.receiving import forget
from pvc_core.ops.shipping import newest_shared, ship, shipping_locks
from pvc_core.ops.snapshot_steps import (
    check_new_vm_snapshot,
    create_vm_snapshot,
    roll_back_disks,
    snapshot_locks,
    timestamp_name,
)
from pvc_core.ops.steps import commit
from pvc_core.ports import Peer
from pvc_core.rules.placement import check_node, choose_node
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.transfer.incoming import mark_of, set_mark

KEPT = "kept-"  # begins the name of what a superseded side had alone


class MirrorOperation(VmOperation):
    """Changes which side leads: nothing else is done with the machine meanwhile."""

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (*snapshot_locks(snapshot, self.vm), *shipping_locks(self.vm))


def find_mirror(snapshot: ClusterSnapshot, uuid: str) -> Mirror:
    """Raises NotFound."""
    mirror = snapshot.mirrors.get(uuid)
    if mirror is None:
        raise NotFound(f"VM {find_vm(snapshot, uuid).vm.name} has no mirror")
    return mirror


def own_fsid(snapshot: ClusterSnapshot) -> str:
    """Raises Unavailable while it is not known."""
    if not snapshot.fsid:
        raise Unavailable("this cluster's storage has not been looked at yet, so its id is not known: try again")
    return snapshot.fsid


@contextmanager
def connected(run: Run, name: str) -> Iterator[Peer]:
    """Raises NotFound, and Conflict where a mirror came from a cluster that has no name here."""
    if not name:
        raise Conflict("the other cluster has no name here: add it as a peer first")
    peer = run.tools.peers.connect(name, run.cancelled)
    try:
        yield peer
    finally:
        peer.close()


def take_snapshot(run: Run, uuid: str) -> VmSnapshot:
    """Snapshot the machine to be sent. One step; called with ``snapshot_locks``."""
    first = f"mirror-{timestamp_name(run.tools.clock.now())}"
    names = chain([first], (f"{first}-{number}" for number in count(2)))
    name = next(name for name in names if name not in run.snapshot.vm_snapshots.get(uuid, {}))
    check_new_vm_snapshot(run.snapshot, uuid, name)
    run.step(f"Taking snapshot {name}")
    return create_vm_snapshot(run, uuid, name, Purpose.MIRROR).snapshot


def send(run: Run, peer: Peer, mirror: Mirror, taken: VmSnapshot) -> Mirror:
    """Send a snapshot from the newest one on that both sides have, and note it as the shared one. One step."""
    parent = _parent(run.snapshot, peer, mirror, taken)
    with run.holding(*shipping_locks(mirror.vm, taken.name, parent.name if parent else "")[1:]):
        ship(run, peer, taken, parent=parent, pool=mirror.pool, lineage=mirror.lineage)
    return write(run, mirror.vm, lambda now: replace(now, shared=taken.name, shared_created=taken.created))


def _parent(snapshot: ClusterSnapshot, peer: Peer, mirror: Mirror, taken: VmSnapshot) -> VmSnapshot | None:
    """The shared snapshot as recorded, where it is still there on both sides: after a promotion the clocks of the two
    sites may tell otherwise which one is the newest."""
    known = snapshot.vm_snapshots.get(mirror.vm, {}).get(mirror.shared)
    there = {(one.name, one.created) for one in peer.snapshots(mirror.vm)}
    if known is not None and (known.name, known.created) in there and known != taken:
        return known
    return newest_shared(snapshot, peer, taken)


def unsent(snapshot: ClusterSnapshot, peer: Peer, uuid: str, mirror: Mirror | None) -> VmSnapshot | None:
    """A snapshot that an earlier call made and did not bring to its end."""
    there = {one.name for one in peer.snapshots(uuid)}
    here = snapshot.vm_snapshots.get(uuid, {})
    shared = here.get(mirror.shared) if mirror is not None else None
    since = mirror.shared_created if mirror is not None else 0.0
    made = (one for one in here.values() if one.purpose is Purpose.MIRROR and one.name not in there)
    left = [one for one in made if (one.order > shared.order if shared is not None else one.created > since)]
    return max(left, key=lambda one: one.order, default=None)


def write(
    run: Run, uuid: str, change: Callable[[Mirror], Mirror], vm_change: Callable[[Vm], Vm] | None = None
) -> Mirror:
    """Change a mirror's record, and its machine's in the same transaction; the new record."""

    def prepare(transaction: Transaction) -> Mirror:
        entry = run.tools.state.get(records.mirror(uuid))
        mirror = change(entry.value)
        if mirror != entry.value:
            transaction.update(entry, mirror)
        if vm_change is not None:
            vm = run.tools.state.get(records.vm(uuid))
            transaction.update(vm, vm_change(vm.value))
        return mirror

    return commit(run, prepare)


def become(run: Run, state: VmState) -> Callable[[Vm], Vm]:
    """The change of a machine's record that makes a mirror a machine of this cluster, on a node that can take it."""

    def change(vm: Vm) -> Vm:
        node = _place(run.snapshot, vm, vm.size.memory if state is VmState.START else 0)
        return replace(vm, state=state, shutdown_deadline=0.0, node=node, last_node="", generation=vm.generation + 1)

    return change


def _place(snapshot: ClusterSnapshot, vm: Vm, memory: int) -> str:
    try:
        check_node(snapshot, vm.node, vm, memory)
    except (Conflict, NotFound):
        return choose_node(snapshot, vm, memory)
    return vm.node


def go_back(run: Run, taken: VmSnapshot) -> None:
    """Make the disks what they were at a snapshot, with what was being received beyond it given up. Nothing is copied
    where they are so already."""
    transfer = run.snapshot.transfers.get(taken.vm)
    if transfer is not None:
        run.mark_changed()
        forget(run, transfer)
    if all(_stands_at(run, disk.volume, taken.name) for disk in taken.disks):
        return
    run.plan(len(taken.disks) + 1)
    roll_back_disks(run, taken)
    for disk in taken.disks:
        with run.tools.blocks.open(*disk.volume.split("/", 1), writable=True) as image:
            set_mark(image, None)


def _stands_at(run: Run, volume: str, snapshot: str) -> bool:
    """Whether a mirror's image has taken nothing since this snapshot was made of it: what it receives is marked."""
    pool, name = volume.split("/", 1)
    snapshots = run.tools.blocks.inspect(pool, name).snapshots
    with run.tools.blocks.open(pool, name) as image:
        return mark_of(image) is None and bool(snapshots) and snapshots[-1].name == snapshot


@contextmanager
def leaving(*left: str) -> Iterator[None]:
    """Add to whatever fails within what is left by then."""
    try:
        yield
    except ClaimLost:
        raise
    except Cancelled as error:
        raise Cancelled(str(error), left=(*error.left, *left)) from None
    except PvcError as error:
        raise Failed(str(error), left=(*getattr(error, "left", ()), *left)) from error
