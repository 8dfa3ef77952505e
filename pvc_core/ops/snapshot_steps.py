"""Snapshots of whole machines, as several operations make, use and remove them.

The record of a snapshot is written after the snapshots of all its disks and removed before any of them, so one that is
listed is whole. The callers hold the locks that are named here.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from pvc_core.errors import Conflict, Failed, NotFound, PvcError
from pvc_core.model.domain import parse
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.storage import Volume
from pvc_core.model.vm import RunState, VmState
from pvc_core.model.vm_snapshot import Purpose, Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    check_name,
    find_settled_vm,
    find_vm,
    parts_of,
    snapshot_lock,
    vm_lock,
    volume_lock,
    volumes_of,
)
from pvc_core.ops.standstill import Moment, at_rest, let_go
from pvc_core.ops.steps import change, commit, read_vm
from pvc_core.ops.volume_steps import update_record, wait_dead_watchers, wait_unused
from pvc_core.ports import Create, Delete
from pvc_core.state import records
from pvc_core.state.cluster import Entry, Transaction

STANDSTILL_LIMIT = 10.0  # seconds after which a machine goes on though Ceph has not made all snapshots


@dataclass(frozen=True, slots=True)
class Taken:
    """A new snapshot, and for how many seconds the machine stood still for it."""

    snapshot: VmSnapshot
    stood_still: float = 0.0


def timestamp_name(now: float) -> str:
    """The name of a snapshot that was given none: the time in UTC, as YYYYMMDDHHMMSS."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S")


def next_timestamp_name(snapshot: ClusterSnapshot, vm: str, now: float) -> str:
    """The same, or that of the first second after it of which the machine has no snapshot."""
    taken = snapshot.vm_snapshots.get(vm, {})
    return next(name for name in (timestamp_name(now + more) for more in count()) if name not in taken)


def snapshot_locks(snapshot: ClusterSnapshot, vm: str) -> tuple[str, ...]:
    """What is held while a snapshot is made."""
    return (vm_lock(vm), *map(volume_lock, sorted(set(volumes_of(snapshot, vm)))))


def removal_locks(snapshot: ClusterSnapshot, vm: str, *names: str) -> tuple[str, ...]:
    """What is held while these snapshots are removed, or one is rolled back to."""
    taken = [taken for name, taken in snapshot.vm_snapshots.get(vm, {}).items() if name in names]
    volumes = {*volumes_of(snapshot, vm), *(disk.volume for one in taken for disk in one.disks)}
    return (vm_lock(vm), *map(volume_lock, sorted(volumes)), *(snapshot_lock(vm, name) for name in names))


def snapshot_node(snapshot: ClusterSnapshot, vm: str) -> str | None:
    """Where a snapshot is made: the node on which the machine runs, and any where it is off."""
    entry = snapshot.vms.get(vm)
    return entry.holder or None if entry is not None else None


def find_vm_snapshot(snapshot: ClusterSnapshot, vm: str, name: str) -> VmSnapshot:
    """Raises NotFound naming those that there are."""
    named = snapshot.vm_snapshots.get(vm, {})
    if name not in named:
        title = find_vm(snapshot, vm).vm.name
        raise NotFound(f"VM {title} has no snapshot {name!r}; it has {', '.join(sorted(named)) or 'none'}")
    return named[name]


def check_new_vm_snapshot(snapshot: ClusterSnapshot, vm: str, name: str) -> None:
    """Raise Refused unless a snapshot of that name can be made now."""
    entry = find_settled_vm(snapshot, vm)
    title = entry.vm.name
    check_name("snapshot", name)
    if entry.vm.state is VmState.MIRROR:
        raise Conflict(f"VM {title} is received from another cluster: its snapshots come from there")
    if name in snapshot.vm_snapshots.get(vm, {}):
        raise Conflict(f"VM {title} has a snapshot {name!r} already")
    volumes = volumes_of(snapshot, vm)
    if not volumes:
        raise Conflict(f"VM {title} has no disk in the cluster's storage, so there is nothing to snapshot")
    for full_name in volumes:
        volume = snapshot.volumes.get(full_name)
        if volume is None:
            raise Conflict(f"volume {full_name}, a disk of VM {title}, does not exist")
        if _has(volume, name):
            raise Conflict(f"volume {full_name}, a disk of VM {title}, has a snapshot {name!r} of its own")
    _require_steady(entry)


def vm_snapshots_of_volume(snapshot: ClusterSnapshot, full_name: str) -> list[VmSnapshot]:
    """The machines' snapshots of which this volume has a part."""
    return [
        taken
        for named in snapshot.vm_snapshots.values()
        for taken in named.values()
        if any(disk.volume == full_name for disk in taken.disks)
    ]


def require_in_no_vm_snapshot(snapshot: ClusterSnapshot, full_name: str) -> None:
    """Raise Conflict when a volume is part of any machine's snapshot."""
    for taken in vm_snapshots_of_volume(snapshot, full_name):
        title = snapshot.vms[taken.vm].vm.name if taken.vm in snapshot.vms else taken.vm
        raise Conflict(f"volume {full_name} is part of the snapshot {taken.name!r} of VM {title}: remove that first")


def require_no_vm_snapshot(snapshot: ClusterSnapshot, full_name: str, name: str) -> None:
    """Raise Conflict when the snapshot ``name`` of a volume is part of a machine's snapshot."""
    for taken in vm_snapshots_of_volume(snapshot, full_name):
        if taken.name == name:
            title = snapshot.vms[taken.vm].vm.name if taken.vm in snapshot.vms else taken.vm
            raise Conflict(
                f"snapshot {name!r} of volume {full_name} is part of the snapshot {name!r} of VM {title}: "
                f"remove that as a whole (pvc vm snapshot remove {title} {name})"
            )


def create_vm_snapshot(run: Run, vm: str, name: str, purpose: Purpose = Purpose.USER) -> Taken:
    """Snapshot all disks of a machine at one moment, with its configuration; undone unless the operation comes to its
    end. Called on ``snapshot_node``, with ``snapshot_locks``. What an earlier attempt left is made anew."""
    let_go(run, vm)
    made = run.tools.state.find(records.vm_snapshot(vm, name))
    if run.attempt > 1 and made is not None:
        return Taken(made.value)
    entry = read_vm(run, vm)
    _require_steady(entry)
    xml = run.tools.state.get(records.vm_xml(vm)).value
    volumes = sorted(set(parse(xml).volumes))
    for full_name in volumes:
        wait_dead_watchers(run, *parts_of(full_name), users=1 if entry.holder else 0)
    for full_name in volumes:
        _clear_disk(run, full_name, name)
    for full_name in volumes:
        left = f"volume {full_name} has a snapshot {name!r}"
        run.undo(left, lambda full_name=full_name: _drop_disk(run, full_name, name))  # type: ignore[misc]
    with ThreadPoolExecutor(len(volumes) or 1, thread_name_prefix="snapshot") as pool:  # leaving it waits for all calls
        if entry.holder:
            moment = at_rest(run, entry, lambda: _snapshot_disks(run, pool, volumes, name))
        else:
            moment = Moment(Quiesced.OFF, run.tools.clock.now())
            _snapshot_disks(run, pool, volumes, name)
    inspected = [_inspect(run, full_name) for full_name in volumes]
    disks = tuple(SnapshotDisk(volume.full_name, volume.size) for volume in inspected)
    number = 1 + max((one.number for one in run.snapshot.vm_snapshots.get(vm, {}).values()), default=0)
    taken = VmSnapshot(vm, name, moment.time, moment.quiesced, disks, purpose, number)
    _record(run, taken, xml, inspected, entry, moment.released)
    if not moment.released and moment.quiesced is Quiesced.GUEST:
        run.commit_point()
        left = f"the file systems of VM {entry.vm.name} are frozen until its node has thawed them, which it tries"
        raise Failed(f"VM {entry.vm.name} did not answer after its snapshot {name!r} was made", left=(left,))
    return Taken(taken, moment.stood_still)


def remove_vm_snapshot(run: Run, vm: str, name: str) -> None:
    """Remove the record of a snapshot and then the snapshots of its disks, with the commit point in between. Called
    with ``removal_locks``. What is gone already is no error."""
    record = run.tools.state.find(records.vm_snapshot(vm, name))
    if record is None and run.attempt == 1:  # what volumes have of that name is no part of it
        return
    volumes = [disk.volume for disk in record.value.disks] if record else volumes_of(run.snapshot, vm)
    for full_name in volumes:
        _require_unprotected(run, full_name, name)
    commit(run, lambda transaction: drop_vm_snapshot(run, transaction, vm, name))
    run.commit_point()
    for full_name in volumes:
        _drop_disk(run, full_name, name)


def roll_back_disks(run: Run, taken: VmSnapshot) -> None:
    """Make every disk what it was at a snapshot, in a step each. Called with ``removal_locks`` while the machine is
    off. Nothing of it is undone; what breaks off is completed by doing it again."""
    done: list[str] = []
    for disk in taken.disks:
        run.step(f"Rolling back volume {disk.volume}")
        run.commit_point()
        try:
            wait_unused(run, *parts_of(disk.volume))
            run.tools.blocks.rollback(*parts_of(disk.volume), taken.name, run.part)
            update_record(run, _inspect(run, disk.volume))
        except PvcError as error:
            rest = [one.volume for one in taken.disks if one.volume not in done]
            left = f"rolled back: {', '.join(done) or 'none'}; not, or in part: {', '.join(rest)}; roll back again"
            raise Failed(f"volume {disk.volume} is not rolled back: {error}", left=(left,)) from error
        done.append(disk.volume)


def put_vm_snapshot(run: Run, transaction: Transaction, taken: VmSnapshot, config: VmConfig) -> None:
    """Let ``transaction`` record a snapshot whose disks are all there."""
    directory = records.vm_snapshots(taken.vm)
    if run.tools.state.store.get(directory) is None and not transaction.creates(directory):
        transaction.raw(Create(directory, b""))
    transaction.create(records.vm_snapshot(taken.vm, taken.name), taken)
    transaction.create(records.vm_snapshot_config(taken.vm, taken.name), config)


def drop_vm_snapshot(run: Run, transaction: Transaction, vm: str, name: str) -> None:
    """Let ``transaction`` remove the record of a snapshot; nothing when there is none."""
    state = run.tools.state
    record, config = state.find(records.vm_snapshot(vm, name)), state.find(records.vm_snapshot_config(vm, name))
    if config is not None:
        transaction.delete(config)
    if record is None:
        return
    transaction.delete(record)
    directory = records.vm_snapshots(vm)
    raw = state.store.get(directory)
    if raw is not None and state.store.children(directory) == [name]:
        transaction.raw(Delete(directory, raw.version))


def _require_steady(entry: VmEntry) -> None:
    if entry.status is not None and entry.status.run is RunState.STARTING:
        raise Conflict(f"VM {entry.vm.name} is being started: try again when it runs")


def _clear_disk(run: Run, full_name: str, name: str) -> None:
    """Make sure that a disk has no snapshot of that name, so that one which appears is ours and may be taken back. One
    that its record does not show is what an earlier attempt left."""
    recorded = run.tools.state.get(records.volume(*parts_of(full_name))).value
    if _has(_inspect(run, full_name), name):
        if run.attempt == 1 or _has(recorded, name):
            raise Conflict(f"volume {full_name} has a snapshot {name!r} of its own in Ceph")
        _drop_disk(run, full_name, name)


def _require_unprotected(run: Run, full_name: str, name: str) -> None:
    with suppress(NotFound):  # Ceph has the volume no longer, and so nothing of the snapshot
        for snapshot in _inspect(run, full_name).snapshots:
            if snapshot.name == name and snapshot.protected:
                raise Conflict(f"snapshot {name!r} of volume {full_name} is protected: lift that first")


def _snapshot_disks(run: Run, pool: Executor, volumes: list[str], name: str) -> None:
    """Side by side. Raises Failed when that takes too long for a machine that stands still."""
    made = [pool.submit(run.tools.blocks.create_snapshot, *parts_of(full_name), name) for full_name in volumes]
    ended, late = wait(made, STANDSTILL_LIMIT, FIRST_EXCEPTION)
    for one in ended:
        one.result()
    if late:
        raise Failed(f"Ceph did not make {len(late)} of {len(made)} snapshots within {STANDSTILL_LIMIT:g} s")


def _drop_disk(run: Run, full_name: str, name: str) -> None:
    """Remove the snapshot of a disk, and from its volume's record; it may be gone already."""
    with suppress(NotFound):
        run.tools.blocks.remove_snapshot(*parts_of(full_name), name)
    with suppress(NotFound):
        update_record(run, _inspect(run, full_name))


def _record(run: Run, taken: VmSnapshot, xml: str, volumes: list[Volume], before: VmEntry, released: bool) -> None:
    """Write the snapshot, what its volumes have now, and that the machine is held no longer, all at once."""
    state, uuid = run.tools.state, taken.vm

    def prepare(transaction: Transaction) -> None:
        entry = read_vm(run, uuid)
        vm = entry.vm
        if not before.holder and entry.holder:
            raise Failed(f"VM {vm.name} was started while its disks were snapshot: try again")
        if vm.held and released:
            transaction.update(Entry(records.vm(uuid), vm, entry.version), replace(vm, held=""))
        put_vm_snapshot(run, transaction, taken, VmConfig(vm.name, xml, vm.meta, vm.tags))
        for volume in volumes:
            transaction.update(state.get(records.volume(volume.pool, volume.name)), volume)

    def take_back() -> None:
        commit(run, lambda transaction: drop_vm_snapshot(run, transaction, uuid, taken.name))

    change(run, lambda: commit(run, prepare), f"snapshot {taken.name!r} is listed", take_back)


def _has(volume: Volume, name: str) -> bool:
    return any(snapshot.name == name for snapshot in volume.snapshots)


def _inspect(run: Run, full_name: str) -> Volume:
    return run.tools.blocks.inspect(*parts_of(full_name))
