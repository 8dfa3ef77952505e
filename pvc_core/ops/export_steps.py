"""A machine's snapshot into a directory or a store, which exports and backups share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.manifest import Manifest
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_node, parts_of, snapshot_lock
from pvc_core.ops.meter import Meter
from pvc_core.ops.snapshot_steps import find_vm_snapshot
from pvc_core.ports import BackupTarget
from pvc_core.state import records
from pvc_core.transfer import backup
from pvc_core.transfer.backup import Link


def check_node(snapshot: ClusterSnapshot, name: str) -> None:
    """Raise Refused unless this node can be worked on."""
    if not find_node(snapshot, name).runs:
        raise Conflict(f"node {name}, whose directories are meant, does not answer")


def reading_locks(vm: str, *names: str) -> tuple[str, ...]:
    """What is held while snapshots are read; a name may be empty."""
    return tuple(snapshot_lock(vm, name) for name in dict.fromkeys(names) if name)


def check_parent(snapshot: ClusterSnapshot, taken: VmSnapshot, parent: str) -> None:
    """Raise Refused unless what differs from the snapshot ``parent`` can be exported."""
    if parent and find_vm_snapshot(snapshot, taken.vm, parent).order >= taken.order:
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
        if name not in {snapshot.name for snapshot in run.tools.blocks.inspect(*parts_of(disk.volume)).snapshots}:
            raise Conflict(f"snapshot {name!r} of volume {disk.volume} was removed while it was exported")
