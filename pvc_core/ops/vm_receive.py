"""Receive a machine's snapshot from another cluster: begin, then the blocks come, then commit.

The blocks themselves are written by the web server, into the images that ``begin`` has made ready. Until ``commit``
there is no record of the machine, of its volumes or of the snapshot that could be taken for whole.
"""

from __future__ import annotations

import logging
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from pvc_core.errors import Conflict, DriverError
from pvc_core.model.domain import parse
from pvc_core.model.domain_edit import set_volumes
from pvc_core.model.mirror import Transfer
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Volume
from pvc_core.model.task import Role
from pvc_core.model.vm import Vm, VmState
from pvc_core.model.vm_snapshot import SnapshotDisk
from pvc_core.ops import receiving
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, vm_lock, volume_lock
from pvc_core.ops.snapshot_steps import put_vm_snapshot
from pvc_core.ops.steps import change, commit
from pvc_core.ops.volume_steps import require_free_name
from pvc_core.ports import Offer
from pvc_core.rules import lineage
from pvc_core.rules.placement import choose_node
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.state.records import Name
from pvc_core.transfer.incoming import set_mark

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VmReceiveBegin(VmOperation):
    """``source`` is the sender's fsid. The same offer made again goes on where it was; another one by the same sender
    takes the place of what it left unfinished."""

    offer: Offer
    source: str

    task_name = "vm.receive.begin"
    summary = "Make ready for a VM's snapshot from another cluster"
    role = Role.ADMINISTRATOR
    resumable = True

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.offer.config.name

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (vm_lock(self.vm), *map(volume_lock, receiving.volumes_for(self.offer).values()))

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.vm != self.offer.vm:
            raise Conflict(f"the offer is of VM {self.offer.vm}, not of {self.vm}")
        if receiving.is_here(snapshot, self.offer.snapshot):
            return
        self._check_offer(snapshot)
        self._refuse_beside(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        name, taken = self.offer.config.name, self.offer.snapshot.name
        if receiving.is_here(run.snapshot, self.offer.snapshot):
            return {"message": f"Snapshot {taken} of VM {name} is here already"}
        run.plan(1 + len(self.offer.disks))
        run.step("Looking for room")
        transfer = self._transfer(run)
        receiving.require_room(run.tools.blocks, transfer, run.tools.config.ceph.full_ratio)
        if self.vm not in run.snapshot.transfers:  # what an earlier begin has made is not for this one to take back
            run.undo(f"snapshot {taken} of VM {name} is being received", lambda: receiving.forget(run, transfer))
        receiving.record_transfer(run, transfer)
        for disk in self.offer.disks:
            here = transfer.volumes[disk.volume]
            run.step(f"Making volume {here} ready")
            self._prepare(run, transfer, here, disk.size)
        return {"message": f"Ready for snapshot {taken} of VM {name}", "transfer": transfer.id}

    def _check_offer(self, snapshot: ClusterSnapshot) -> None:
        receiving.check_offer(snapshot, self.offer, self.source)

    def _prepare(self, run: Run, transfer: Transfer, here: str, size: int) -> None:
        receiving.prepare_image(run, transfer, here, size, receiving.base_of(run.snapshot, self.offer, here))

    def _joined(self, known: Transfer) -> Transfer | None:
        """The transfer that is under way as it goes on with this offer; None when this is another one."""
        same = receiving.is_same(known, self.offer, self.source)
        return replace(known, offer=msgspec.json.encode(self.offer).decode()) if same else None

    def _refuse_beside(self, snapshot: ClusterSnapshot) -> None:
        """Raise Conflict while another snapshot of the machine is on its way."""
        known = snapshot.transfers.get(self.vm)
        if known is None or self._joined(known) is not None:
            return
        flows = any(snapshot.locks.get(volume_lock(volume)) == known.id for volume in known.volumes.values())
        if known.source != self.source or flows:
            raise Conflict(
                f"snapshot {known.snapshot} of VM {self.offer.config.name} is being received from cluster "
                f"{known.source} (transfer {known.id}): wait until it has come, or abandon it"
            )

    def _transfer(self, run: Run) -> Transfer:
        """The record of this transfer, with what an earlier one left cleared away."""
        known = run.snapshot.transfers.get(self.vm)
        joined = self._joined(known) if known is not None else None
        if known is not None and joined is None:
            log.info("VM %s: snapshot %s was left unfinished, and gives way", self.vm, known.snapshot)
            run.mark_changed()
            receiving.forget(run, known)
            run.tools.view.settle()
        volumes = receiving.volumes_for(self.offer)
        ours = known.volumes.values() if known is not None and joined is not None else ()
        for here in volumes.values():
            if here not in ours:
                self._require_free(run, here)
        return joined or Transfer(
            id=str(uuids.uuid4()),
            vm=self.vm,
            snapshot=self.offer.snapshot.name,
            parent=self.offer.parent,
            source=self.source,
            volumes=volumes,
            begun=run.tools.clock.now(),
            offer=msgspec.json.encode(self.offer).decode(),
        )

    def _require_free(self, run: Run, volume: str) -> None:
        """Raise Conflict for what would be overwritten, or taken for what has come."""
        pool, name = volume.split("/", 1)
        if volume not in run.snapshot.volumes:
            require_free_name(run, pool, name)
        elif any(one.name == self.offer.snapshot.name for one in run.tools.blocks.inspect(pool, name).snapshots):
            raise Conflict(
                f"volume {volume} has another snapshot {self.offer.snapshot.name}: remove or rename that one"
            )


@dataclass(frozen=True)
class _Received(VmOperation):
    """On the snapshot of this name, which is being received."""

    snapshot: str

    role = Role.ADMINISTRATOR

    def subject(self, snapshot: ClusterSnapshot) -> str:
        transfer = snapshot.transfers.get(self.vm)
        return receiving.offer_of(transfer).config.name if transfer else super().subject(snapshot)

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        transfer = snapshot.transfers.get(self.vm)
        return (vm_lock(self.vm), *map(volume_lock, transfer.volumes.values() if transfer else ()))


@dataclass(frozen=True)
class VmReceiveCommit(_Received):
    """Make of what has come a snapshot, a machine that is a mirror, and the records of its volumes, all at once."""

    task_name = "vm.receive.commit"
    summary = "Complete a VM's snapshot from another cluster"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        if not self._is_done(snapshot):
            transfer = self._found(snapshot)
            receiving.check_offer(snapshot, receiving.offer_of(transfer), transfer.source)

    def execute(self, run: Run) -> Mapping[str, Any]:
        if self._is_done(run.snapshot):
            return {"message": f"Snapshot {self.snapshot} is complete already"}
        transfer = self._found(run.snapshot)
        offer = receiving.offer_of(transfer)
        run.plan(2)
        run.step("Checking that all has come")
        missing = [volume for volume, size, stored in receiving.progress(run.tools.blocks, transfer) if stored < size]
        if missing:
            raise Conflict(f"volume {', '.join(missing)} has not come whole: send the rest, and commit again")
        run.step("Completing the snapshot")
        volumes = [self._snapshot_image(run, transfer.volumes[disk.volume], disk.size) for disk in offer.disks]
        commit(run, lambda transaction: _write(run, transaction, transfer, offer, volumes))
        run.commit_point()
        for volume in volumes:
            _clear_mark(run, volume)
        return {"message": _sentence(run.snapshot, offer), "uuid": offer.vm}

    def _found(self, snapshot: ClusterSnapshot) -> Transfer:
        """Raises NotFound."""
        return receiving.find_transfer(snapshot, self.vm, self.snapshot)

    def _is_done(self, snapshot: ClusterSnapshot) -> bool:
        return self.vm not in snapshot.transfers and self.snapshot in snapshot.vm_snapshots.get(self.vm, {})

    def _snapshot_image(self, run: Run, volume: str, size: int) -> Volume:
        pool, name = volume.split("/", 1)
        blocks = run.tools.blocks
        known = blocks.inspect(pool, name)
        if known.size != size:
            raise Conflict(f"volume {volume} has {known.size} bytes, and as a disk of the snapshot {size}")
        if all(one.name != self.snapshot for one in known.snapshots):
            change(
                run,
                lambda: blocks.create_snapshot(pool, name, self.snapshot),
                f"volume {volume} has a snapshot {self.snapshot}",
                lambda: blocks.remove_snapshot(pool, name, self.snapshot),
            )
        return blocks.inspect(pool, name)


@dataclass(frozen=True)
class VmReceiveAbandon(_Received):
    """Forget a snapshot that has not come whole, and remove its blocks."""

    task_name = "vm.receive.abandon"
    summary = "Give up a VM's snapshot from another cluster"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        receiving.find_transfer(snapshot, self.vm, self.snapshot)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """An earlier attempt may have come to the end."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        transfer = run.snapshot.transfers.get(self.vm)
        if transfer is not None and transfer.snapshot == self.snapshot:
            run.step(f"Removing what has come of snapshot {self.snapshot}")
            run.mark_changed()
            receiving.forget(run, transfer)
        return {"message": f"Snapshot {self.snapshot} is no longer received"}


def _write(run: Run, transaction: Transaction, transfer: Transfer, offer: Offer, volumes: list[Volume]) -> None:
    state = run.tools.state
    xml = set_volumes(offer.config.xml, transfer.volumes)
    for volume in volumes:
        transaction.check(state.get(records.pool(volume.pool)))
        known = state.find(records.volume(volume.pool, volume.name))
        if known is None:
            transaction.create(records.volume(volume.pool, volume.name), volume)
        else:
            transaction.update(known, volume)
    _write_machine(run, transaction, offer, xml)
    disks = tuple(SnapshotDisk(transfer.volumes[disk.volume], disk.size) for disk in offer.disks)
    put_vm_snapshot(run, transaction, replace(offer.snapshot, disks=disks), replace(offer.config, xml=xml))
    if offer.lineage is not None:
        _write_mirror(run, transaction, transfer, offer)
    transaction.delete(state.get(records.transfer(transfer.vm)))


def _write_machine(run: Run, transaction: Transaction, offer: Offer, xml: str) -> None:
    state, config, cluster = run.tools.state, offer.config, run.snapshot
    meta = replace(config.meta, node_limit=tuple(node for node in config.meta.node_limit if node in cluster.nodes))
    entry = state.find(records.vm(offer.vm))
    if entry is None:
        vm = Vm(offer.vm, config.name, VmState.MIRROR, "", meta=meta, tags=config.tags, size=parse(xml).size)
        transaction.create(records.vm(vm.uuid), replace(vm, node=_place(cluster, vm)))
        transaction.create(records.vm_xml(vm.uuid), xml)
        transaction.create(records.vm_name(vm.name), Name(vm.uuid))
        return
    before = entry.value
    if before.name != config.name:
        transaction.delete(state.get(records.vm_name(before.name)))
        transaction.create(records.vm_name(config.name), Name(offer.vm))
    after = replace(before, name=config.name, meta=meta, tags=config.tags, size=parse(xml).size)
    transaction.update(entry, after)
    transaction.update(state.get(records.vm_xml(offer.vm)), xml)


def _place(cluster: ClusterSnapshot, vm: Vm) -> str:
    """A node for the machine; where none would take it now, any: it does not run, and is placed anew when it is to."""
    try:
        return choose_node(cluster, vm, 0)
    except Conflict:
        return min(cluster.nodes)


def _write_mirror(run: Run, transaction: Transaction, transfer: Transfer, offer: Offer) -> None:
    assert offer.lineage is not None
    entry = run.tools.state.find(records.mirror(offer.vm))
    known = entry.value if entry is not None else None
    if why := lineage.refusal(known, offer.lineage, transfer.source):  # the other side may have been promoted meanwhile
        raise Conflict(f"VM {offer.config.name}: {why}")
    peer = next((name for name, watch in run.snapshot.peers.items() if watch.fsid == transfer.source), "")
    taken = offer.snapshot
    theirs = {volume.partition("/")[0] for volume in transfer.volumes}
    back = theirs.pop() if offer.pool and len(theirs) == 1 else ""
    mirror = lineage.received(known, offer.vm, peer, offer.lineage, taken.name, taken.created, back)
    if entry is None:
        transaction.create(records.mirror(offer.vm), mirror)
    else:
        transaction.update(entry, mirror)


def _clear_mark(run: Run, volume: Volume) -> None:
    """The head is as its newest snapshot now. Where this fails, it is taken back to that snapshot before the next."""
    try:
        with run.tools.blocks.open(volume.pool, volume.name, writable=True) as image:
            set_mark(image, None)
    except DriverError as error:
        log.warning("volume %s keeps the mark of a transfer that is complete: %s", volume.full_name, error)


def _sentence(cluster: ClusterSnapshot, offer: Offer) -> str:
    vnis = {nic.vni for nic in parse(offer.config.xml).networks if nic.vni is not None}
    lacking = sorted(vnis - set(cluster.networks))
    warning = f"; create network {', '.join(map(str, lacking))} before it is started here" if lacking else ""
    return f"Snapshot {offer.snapshot.name} of VM {offer.config.name} is complete{warning}"
