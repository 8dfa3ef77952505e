"""What exports and backups share: a machine's snapshot into a store, and a machine out of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.manifest import Manifest
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Volume
from pvc_core.model.vm import Vm
from pvc_core.model.vm_snapshot import SnapshotDisk, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_node, vm_lock, volume_lock
from pvc_core.ops.meter import Meter
from pvc_core.ops.snapshot_steps import find_vm_snapshot, put_vm_snapshot, snapshot_lock
from pvc_core.ops.vm_define import VmDefine
from pvc_core.ops.volume_steps import check_new, check_room, remove_image, wait_unused
from pvc_core.ports import BackupTarget
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.transfer import backup
from pvc_core.transfer.backup import Link
from pvc_core.transfer.images import write_frames

NOTE = "import"  # in an image: the task that brings it


def check_node(snapshot: ClusterSnapshot, name: str) -> None:
    """Raise Refused unless this node can be worked on."""
    if not find_node(snapshot, name).runs:
        raise Conflict(f"node {name}, whose directories are meant, does not answer")


def reading_locks(vm: str, *names: str) -> tuple[str, ...]:
    """What is held while snapshots are read; a name may be empty."""
    return tuple(snapshot_lock(vm, name) for name in dict.fromkeys(names) if name)


def check_parent(snapshot: ClusterSnapshot, taken: VmSnapshot, parent: str) -> None:
    """Raise Refused unless what differs from the snapshot ``parent`` can be exported."""
    if parent and find_vm_snapshot(snapshot, taken.vm, parent).created >= taken.created:
        raise Conflict(f"snapshot {parent!r} is not older than {taken.name!r}, and cannot be its parent")


@dataclass(frozen=True)
class Export:
    """What is written: a snapshot of a machine, as what differs from ``parent`` where that is given, into a directory
    or store ``where``."""

    snapshot: VmSnapshot
    where: str
    vm_name: str
    parent: VmSnapshot | None = None
    recipients: tuple[str, ...] = ()
    compress: bool = True
    verify: bool = False

    @property
    def prefix(self) -> str:
        return backup.prefix_of(self.vm_name, self.snapshot.name)

    @property
    def steps(self) -> int:
        return 2 + self.verify


def export_snapshot(run: Run, export: Export) -> Manifest:
    """Write an export in ``export.steps`` steps; undone unless the operation goes on to its end. Called with
    ``reading_locks``. Raises Conflict when there is one already, or the parent's is not there."""
    with run.tools.targets.open(export.where) as target:
        run.step(f"Looking at {export.where}")
        before = _find(target, export.prefix)
        if before is not None:
            if run.attempt > 1 and before.snapshot == export.snapshot:
                return before  # an earlier attempt came to its end here
            raise Conflict(f"{export.where} has {export.prefix} already: remove it there, or take another place")
        _check_parent_export(target, export)
        manifest = _manifest(run, export)
        parent_disks = {disk.volume for disk in export.parent.disks} if export.parent else set()
        run.undo(f"{export.where} has parts of {export.prefix}", lambda: _remove(run, export))
        run.step(f"Exporting {len(manifest.snapshot.disks)} disks to {export.where}")
        meter = Meter(run, backup.data_size(run.tools.blocks, manifest, parent_disks))
        manifest = backup.write_disks(
            target,
            export.prefix,
            manifest,
            parent_disks,
            run.tools.blocks,
            recipients=export.recipients,
            compress=export.compress,
            moved=meter.add,
            cancelled=run.cancelled,
        )
        run.checkpoint()
        _require_unchanged(run, export)
        link = Link(export.prefix, manifest)
        if export.verify:
            run.step("Reading it back")
            check_links(run, target, [link])
        backup.write_manifest(target, export.prefix, manifest)
        return manifest


def check_links(run: Run, target: BackupTarget, links: Sequence[Link], identities: Sequence[str] = ()) -> None:
    """Read exports back within the present step. Raises Conflict with all that is missing or damaged."""
    meter = Meter(run, sum(link.stored for link in links))
    found = [
        problem
        for link in links
        for problem in backup.check_export(
            target, link, identities=identities, moved=meter.add, cancelled=run.cancelled
        )
    ]
    if found:
        raise Conflict("; ".join(found))


@dataclass(frozen=True)
class Import:
    """What becomes of a chain of exports: a machine as ``define`` has it. ``volumes`` says where each disk goes.
    ``retain``: keep the snapshots that the chain is made of, so that later increments can differ from them."""

    links: tuple[Link, ...]
    define: VmDefine
    volumes: Mapping[str, str]
    retain: bool = True
    force: bool = False
    identities: tuple[str, ...] = ()

    @property
    def newest(self) -> Manifest:
        return self.links[-1].manifest

    @property
    def steps(self) -> int:
        return 2 + len(self.newest.disks)

    @property
    def retained(self) -> tuple[Link, ...]:
        """The newest links whose snapshots have no disk that a later one lacks."""
        kept: list[Link] = []
        for link in reversed(self.links if self.retain else ()):
            later = {disk.volume for disk in (kept[0] if kept else link).manifest.disks}
            if not {disk.volume for disk in link.manifest.disks} <= later:
                break
            kept.insert(0, link)
        return tuple(kept)

    def taken(self, link: Link) -> VmSnapshot:
        """The snapshot of a link as it is here."""
        taken = link.manifest.snapshot
        disks = tuple(replace(disk, volume=self.volumes[disk.volume]) for disk in taken.disks)
        return replace(taken, vm=self.define.spec.uuid, disks=disks)


def import_machine(run: Run, target: BackupTarget, wanted: Import) -> Vm:
    """Check all files, write the disks and define the machine, in ``wanted.steps`` steps; undone unless that comes to
    its end. Images have no record before the machine has one, and all records are written at once."""
    here = wanted.volumes.values()
    run.acquire((vm_lock(wanted.define.spec.uuid), *map(volume_lock, sorted(here))))
    run.tools.view.settle()
    if run.attempt > 1 and _is_done(run, wanted):
        return run.snapshot.vms[wanted.define.spec.uuid].vm
    for full_name in here:
        _clear_own(run, full_name)
    _check_place(run, wanted)
    run.step("Checking the files")
    check_links(run, target, wanted.links, wanted.identities)
    for disk in wanted.newest.snapshot.disks:
        full_name = wanted.volumes[disk.volume]
        run.step(f"Writing volume {full_name}")
        _write_volume(run, target, wanted, disk, full_name)
    run.step("Writing the definition")
    return _define(run, wanted)


def _find(target: BackupTarget, prefix: str) -> Manifest | None:
    try:
        return backup.read_manifest(target, prefix)
    except NotFound:
        return None


def _check_parent_export(target: BackupTarget, export: Export) -> None:
    """An increment is worth nothing without its parent beside it."""
    if export.parent is None:
        return
    prefix = backup.prefix_of(export.vm_name, export.parent.name)
    manifest = _find(target, prefix)
    if manifest is None or manifest.snapshot.created != export.parent.created or manifest.vm != export.parent.vm:
        raise Conflict(
            f"{export.where} has no export of snapshot {export.parent.name!r} as it is in the cluster, from which to "
            "go on: export that one there first, or make a full export"
        )


def _manifest(run: Run, export: Export) -> Manifest:
    taken, parent = export.snapshot, export.parent
    return Manifest(
        vm=taken.vm,
        config=run.tools.state.get(records.vm_snapshot_config(taken.vm, taken.name)).value,
        snapshot=taken,
        disks=(),
        parent=parent.name if parent else "",
        parent_created=parent.created if parent else 0.0,
        cluster=run.snapshot.fsid,
    )


def _remove(run: Run, export: Export) -> None:
    with run.tools.targets.open(export.where) as target:
        backup.remove_export(target, export.prefix)


def _require_unchanged(run: Run, export: Export) -> None:
    """The lock keeps PVC from removing what was read; this shows what others may have done."""
    for taken in filter(None, (export.snapshot, export.parent)):
        entry = run.tools.state.find(records.vm_snapshot(taken.vm, taken.name))
        if entry is None or entry.value.created != taken.created:
            raise Conflict(f"snapshot {taken.name!r} was removed while it was exported")
    name = export.snapshot.name
    for disk in export.snapshot.disks:
        if name not in {snapshot.name for snapshot in run.tools.blocks.inspect(*_parts(disk.volume)).snapshots}:
            raise Conflict(f"snapshot {name!r} of volume {disk.volume} was removed while it was exported")


def _is_done(run: Run, wanted: Import) -> bool:
    """Whether an earlier attempt came to its end."""
    uuid = wanted.define.spec.uuid
    return uuid in run.snapshot.vms and all(_is_own(run, full_name) for full_name in wanted.volumes.values())


def _is_own(run: Run, full_name: str) -> bool:
    """Whether this very task has made the image, in an earlier attempt."""
    pool, name = _parts(full_name)
    if name not in run.tools.blocks.volumes(pool):
        return False
    with run.tools.blocks.open(pool, name) as image:
        return image.note(NOTE) == run.task_id


def _clear_own(run: Run, full_name: str) -> None:
    """Remove what an earlier attempt left of the image, but none that is not this task's."""
    if run.attempt == 1 or full_name in run.snapshot.volumes:
        return
    pool, name = _parts(full_name)
    left = [unnoted] if (unnoted := _unnoted(run, name)) in run.tools.blocks.volumes(pool) else []
    if _is_own(run, full_name):
        left.append(name)
    for image in left:
        wait_unused(run, pool, image)  # by the worker that died
        _drop_image(run, f"{pool}/{image}")


def _unnoted(run: Run, name: str) -> str:
    """What an image is called until it bears the note that says whose it is: a worker may die between the two."""
    return f"{name}.{run.task_id}"


def _create_own(run: Run, full_name: str, size: int) -> None:
    blocks, (pool, name) = run.tools.blocks, _parts(full_name)
    unnoted = _unnoted(run, name)
    run.undo(f"volume {pool}/{unnoted} is in Ceph, and empty", lambda: _drop_image(run, f"{pool}/{unnoted}"))
    blocks.create(pool, unnoted, size)
    with blocks.open(pool, unnoted, writable=True) as image:
        image.set_note(NOTE, run.task_id)
    run.undo(f"volume {full_name} is in Ceph, with a part of its content", lambda: _drop_image(run, full_name))
    blocks.rename(pool, unnoted, name)


def _check_place(run: Run, wanted: Import) -> None:
    """Raise Refused unless the machine and its volumes can be made here."""
    snapshot, spec = run.snapshot, wanted.define.spec
    for entry in filter(None, (snapshot.find_vm(spec.name), snapshot.vms.get(spec.uuid))):
        raise Conflict(f"there is a VM {entry.vm.name} ({entry.vm.uuid}) already: remove it first, with its disks")
    room: dict[str, int] = {}
    for disk in wanted.newest.snapshot.disks:
        pool, name = _parts(wanted.volumes[disk.volume])
        check_new(snapshot, pool, name)
        if name in run.tools.blocks.volumes(pool):
            raise Conflict(f"Ceph has an image {pool}/{name} that PVC does not know: remove or rename it first")
        room[pool] = room.get(pool, 0) + disk.size
    for pool, size in room.items():
        check_room(run, pool, size, wanted.force)
    volumes = {here: Volume(*_parts(here), size=0) for here in wanted.volumes.values()}
    wanted.define.check(replace(snapshot, volumes={**snapshot.volumes, **volumes}))


def _write_volume(run: Run, target: BackupTarget, wanted: Import, disk: SnapshotDisk, full_name: str) -> None:
    """The disk as it was at each export of the chain, the newest last."""
    blocks, (pool, name) = run.tools.blocks, _parts(full_name)
    parts = backup.files_of(wanted.links, disk.volume)
    meter = Meter(run, sum(file.stored for _, file in parts))
    _create_own(run, full_name, parts[0][1].size)
    for link, file in parts:
        with blocks.open(pool, name, writable=True) as image:
            if image.size != file.size:
                image.resize(file.size)
            keys = wanted.identities if link.manifest.encrypted else ()
            frames = backup.disk_frames(
                target, link.prefix, file, identities=keys, moved=meter.add, cancelled=run.cancelled
            )
            write_frames(image, frames, lambda _: None, run.cancelled)
        if link in wanted.retained:
            blocks.create_snapshot(pool, name, link.manifest.snapshot.name)


def _define(run: Run, wanted: Import) -> Vm:
    volumes = [run.tools.blocks.inspect(*_parts(here)) for here in wanted.volumes.values()]

    def also(transaction: Transaction) -> None:
        for pool in {volume.pool for volume in volumes}:
            transaction.check(run.tools.state.get(records.pool(pool)))
        for volume in volumes:
            transaction.create(records.volume(volume.pool, volume.name), volume)
        for link in wanted.retained:
            put_vm_snapshot(run, transaction, wanted.taken(link), link.manifest.config)

    vm = wanted.define.write(run, also)
    run.commit_point()
    return vm


def _drop_image(run: Run, full_name: str) -> None:
    """Remove an image with its snapshots; nothing when it is gone already."""
    pool, name = _parts(full_name)
    try:
        snapshots = run.tools.blocks.inspect(pool, name).snapshots
    except NotFound:
        return
    for snapshot in snapshots:
        run.tools.blocks.remove_snapshot(pool, name, snapshot.name)
    remove_image(run, pool, name)


def _parts(full_name: str) -> tuple[str, str]:
    pool, _, name = full_name.partition("/")
    return pool, name
