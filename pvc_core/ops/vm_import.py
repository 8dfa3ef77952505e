"""Import a machine from an exported snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.manifest import Manifest
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import check_name
from pvc_core.ops.export_steps import check_node
from pvc_core.ops.import_steps import Import, import_machine
from pvc_core.ops.vm_define import VmDefine
from pvc_core.transfer.backup import chain, prefix_of
from pvc_core.transfer.encryption import read_identity_file
from pvc_core.transfer.frames import Damaged


@dataclass(frozen=True)
class VmSnapshotImport(Operation):
    """``vm`` and ``snapshot`` name the export below ``path``, a directory of ``node`` or a store. The machine becomes
    what it was, with its uuid, and is not started. ``retain_snapshot`` keeps the snapshot it is made of, and those
    before it, so that later increments can differ from them. ``force`` fills a pool beyond the ratio that is kept
    free. ``identity_file`` is a file of the node that decrypts an encrypted export."""

    vm: str
    snapshot: str
    path: str
    node: str
    retain_snapshot: bool = True
    force: bool = False
    identity_file: str = ""

    task_name = "vm.snapshot.import"
    summary = "Import a VM from an exported snapshot"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def subject(self, snapshot: ClusterSnapshot) -> str:
        return self.vm

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        self.check_again(snapshot)
        if (entry := snapshot.find_vm(self.vm)) is not None:
            raise Conflict(f"there is a VM {entry.vm.name} already: remove it first, with its disks")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        check_name("VM", self.vm)
        check_name("snapshot", self.snapshot)
        check_node(snapshot, self.node)

    def execute(self, run: Run) -> Mapping[str, Any]:
        identities = (read_identity_file(self.identity_file),) if self.identity_file else ()
        with run.tools.targets.open(self.path) as target:
            try:
                links = tuple(chain(target, prefix_of(self.vm, self.snapshot)))
            except Damaged as error:
                raise Conflict(str(error)) from None  # nothing is changed yet
            newest = links[-1].manifest
            if newest.encrypted and not identities:
                raise BadRequest("this export is encrypted: name a file of the node with the identity for it")
            here = {disk.volume: disk.volume for disk in newest.disks}
            define = defined_as(newest, run.snapshot)
            wanted = Import(links, define, here, self.retain_snapshot, self.force, identities)
            run.plan(wanted.steps)
            vm = import_machine(run, target, wanted)
        return {"message": f"VM {vm.name} is imported from snapshot {self.snapshot}", "uuid": vm.uuid, "name": vm.name}


def defined_as(manifest: Manifest, snapshot: ClusterSnapshot, xml: str = "") -> VmDefine:
    """The machine as it was exported, or with another XML. Nodes that are not here do not limit it."""
    config = manifest.config
    meta = config.meta
    return VmDefine(
        xml or config.xml,
        node_limit=tuple(node for node in meta.node_limit if node in snapshot.nodes),
        node_selector=meta.node_selector,
        node_autostart=meta.node_autostart,
        migration_method=meta.migration_method,
        migration_max_downtime=meta.migration_max_downtime,
        user_tags=tuple(tag.name for tag in config.tags),
        protected_tags=tuple(tag.name for tag in config.tags if tag.protected),
        profile=meta.profile,
        priority=meta.priority,
        affinity=meta.affinity,
        anti_affinity=meta.anti_affinity,
    )
