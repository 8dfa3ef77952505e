"""What a snapshot does to a running machine: it holds it, lets it stand still for a while, and lets it go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, find_settled_vm
from pvc_core.ops.snapshot_steps import snapshot_node
from pvc_core.ops.standstill import at_rest, let_go
from pvc_core.ops.steps import read_vm, update_vm


@dataclass(frozen=True)
class Hold(VmOperation):
    """``seconds`` is for how long the snapshots of its disks take."""

    seconds: float

    task_name = "simulation.hold"
    summary = "Let a VM stand still"
    resumable = True

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return snapshot_node(snapshot, self.vm)

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_settled_vm(snapshot, self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Standing still")
        let_go(run, self.vm)
        entry = read_vm(run, self.vm)
        if entry.holder:
            at_rest(run, entry, lambda: run.tools.view.wait(lambda _: False, self.seconds))
            update_vm(run, self.vm, lambda vm: replace(vm, held=""))
        return {"message": "It goes on"}
