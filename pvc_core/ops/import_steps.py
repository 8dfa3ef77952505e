"""A machine out of a chain of exports, which imports, restores and restore tests share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.manifest import Manifest
from pvc_core.model.storage import Volume
from pvc_core.model.vm import Vm
from pvc_core.model.vm_snapshot import SnapshotDisk, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import parts_of, vm_lock, volume_lock
from pvc_core.ops.export_steps import check_links
from pvc_core.ops.meter import Meter
from pvc_core.ops.snapshot_steps import put_vm_snapshot
from pvc_core.ops.vm_define import VmDefine
from pvc_core.ops.volume_steps import check_new, check_room, remove_image, wait_unused
from pvc_core.ports import BackupTarget
from pvc_core.state import records
from pvc_core.state.cluster import Transaction
from pvc_core.transfer import backup
from pvc_core.transfer.backup import Link
from pvc_core.transfer.images import write_frames

NOTE = "import"  # in an image: the task that brings it


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


def _is_done(run: Run, wanted: Import) -> bool:
    """Whether an earlier attempt came to its end."""
    uuid = wanted.define.spec.uuid
    return uuid in run.snapshot.vms and all(_is_own(run, full_name) for full_name in wanted.volumes.values())


def _is_own(run: Run, full_name: str) -> bool:
    """Whether this very task has made the image, in an earlier attempt."""
    pool, name = parts_of(full_name)
    if not run.tools.blocks.exists(pool, name):
        return False
    with run.tools.blocks.open(pool, name) as image:
        return image.note(NOTE) == run.task_id


def _clear_own(run: Run, full_name: str) -> None:
    """Remove what an earlier attempt left of the image, but none that is not this task's."""
    if run.attempt == 1 or full_name in run.snapshot.volumes:
        return
    pool, name = parts_of(full_name)
    left = [name] if _is_own(run, full_name) else []
    if run.tools.blocks.exists(pool, unnoted := _unnoted(run, name)):
        left.append(unnoted)
    for image in left:
        wait_unused(run, pool, image)  # by the worker that died
        _drop_image(run, f"{pool}/{image}")


def _unnoted(run: Run, name: str) -> str:
    """What an image is called until it bears the note that says whose it is: a worker may die between the two."""
    return f"{name}.{run.task_id}"


def _create_own(run: Run, full_name: str, size: int) -> None:
    blocks, (pool, name) = run.tools.blocks, parts_of(full_name)
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
        pool, name = parts_of(wanted.volumes[disk.volume])
        check_new(snapshot, pool, name)
        if run.tools.blocks.exists(pool, name):
            raise Conflict(f"Ceph has an image {pool}/{name} that PVC does not know: remove or rename it first")
        room[pool] = room.get(pool, 0) + disk.size
    for pool, size in room.items():
        check_room(run, pool, size, wanted.force)
    volumes = {here: Volume(*parts_of(here), size=0) for here in wanted.volumes.values()}
    wanted.define.check(replace(snapshot, volumes={**snapshot.volumes, **volumes}))


def _write_volume(run: Run, target: BackupTarget, wanted: Import, disk: SnapshotDisk, full_name: str) -> None:
    """The disk as it was at each export of the chain, the newest last."""
    blocks, (pool, name) = run.tools.blocks, parts_of(full_name)
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
    volumes = [run.tools.blocks.inspect(*parts_of(here)) for here in wanted.volumes.values()]

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
    pool, name = parts_of(full_name)
    with suppress(NotFound):
        if run.tools.blocks.exists(pool, name):
            for snapshot in run.tools.blocks.inspect(pool, name).snapshots:
                run.tools.blocks.remove_snapshot(pool, name, snapshot.name)
    remove_image(run, pool, name)
