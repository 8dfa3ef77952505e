"""Send a machine's snapshot to another cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.mirror import Mirror, MirrorRole
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import find_vm
from pvc_core.ops.meter import readable
from pvc_core.ops.shipping import ship, shipping_locks
from pvc_core.ops.snapshot_steps import find_vm_snapshot


@dataclass(frozen=True)
class VmSnapshotSend(Operation):
    """To the cluster that ``peer`` names: whole, or as it differs from the snapshot ``parent``, which that one must
    have too. ``pool`` takes all disks there; empty: the peer's default pool, or else pools of the same names."""

    vm: str
    snapshot: str
    peer: str
    parent: str = ""
    pool: str = ""

    task_name = "vm.snapshot.send"
    summary = "Send a snapshot of a VM to another cluster"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def subject(self, snapshot: ClusterSnapshot) -> str:
        entry = snapshot.vms.get(self.vm)
        return entry.vm.name if entry else self.vm

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return shipping_locks(self.vm, self.snapshot, self.parent)

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_vm(snapshot, self.vm)
        taken = find_vm_snapshot(snapshot, self.vm, self.snapshot)
        if self.parent == self.snapshot:
            raise BadRequest(f"a snapshot cannot be sent as it differs from itself ({self.parent})")
        if self.parent and find_vm_snapshot(snapshot, self.vm, self.parent).order > taken.order:
            raise BadRequest(
                f"snapshot {self.parent} is newer than {self.snapshot}: only an older one can be its parent"
            )
        mirror = self._mirror(snapshot)
        if mirror is not None and mirror.role is not MirrorRole.PRIMARY:
            raise Conflict(f"this VM is {mirror.role} here: cluster {self.peer} takes nothing from this side")

    def execute(self, run: Run) -> Mapping[str, Any]:
        taken = find_vm_snapshot(run.snapshot, self.vm, self.snapshot)
        parent = find_vm_snapshot(run.snapshot, self.vm, self.parent) if self.parent else None
        peer = run.tools.peers.connect(self.peer, run.cancelled)
        try:
            mirror = self._mirror(run.snapshot)
            pool, lineage = (self.pool or mirror.pool, mirror.lineage) if mirror else (self.pool, None)
            sent = ship(run, peer, taken, parent=parent, pool=pool, lineage=lineage)
        finally:
            peer.close()
        message = f"Snapshot {self.snapshot} of VM {self.subject(run.snapshot)} is at cluster {self.peer}"
        return {"message": f"{message}; {readable(sent)} were sent", "bytes": sent}

    def _mirror(self, snapshot: ClusterSnapshot) -> Mirror | None:
        mirror = snapshot.mirrors.get(self.vm)
        return mirror if mirror is not None and mirror.peer == self.peer else None
