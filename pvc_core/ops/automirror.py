"""Mirrors by schedule: each machine's newest state is sent to the other cluster, and old snapshots go at both ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import BadRequest, Failed, PvcError
from pvc_core.model.backup import MirrorPlan, Report
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm_snapshot import Purpose
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import VmOperation
from pvc_core.ops.mirror_steps import KEPT, connected
from pvc_core.ops.planned import STOPS, machines_of, outcomes_of, send, send_patiently, tell
from pvc_core.ops.vm_mirror import VmMirrorCreate
from pvc_core.ops.vm_snapshot import VmSnapshotRemove
from pvc_core.ports import Peer
from pvc_core.rules.retention import surplus

MIRROR_TIMEOUT = 7 * 86400.0  # seconds for all machines of a schedule, of which the first may be sent whole
REMOVAL_TIMEOUT = 600.0  # seconds
AT_ONCE = 4  # which share the link


@dataclass(frozen=True)
class Automirror(Operation):
    """Bring the mirrors of these schedules up to date, and make those that are missing. What fails for one machine does
    not keep the others from it. ``mail`` gets the reports beside those whom the schedules name."""

    schedules: tuple[str, ...]
    mail: tuple[str, ...] = ()
    errors_only: bool = False

    task_name = "vm.automirror"
    summary = "Mirror VMs by schedule"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return tuple(f"automirror:{name}" for name in self.schedules)

    def check(self, snapshot: ClusterSnapshot) -> None:
        if not self.schedules:
            raise BadRequest("name at least one schedule of mirrors")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(2 * len(self.schedules))
        plans = [run.tools.schedules.mirror(name) for name in self.schedules]
        run.mark_changed()
        reports = [self._mirror(run, plan) for plan in plans]
        run.commit_point()
        count = sum(len(report.outcomes) for report in reports)
        left = tuple(line for report in reports for line in report.failures)
        if left:
            raise Failed(f"not all of {count} VMs were mirrored as they should be: {'; '.join(left)}", left=left)
        return {"message": f"VMs mirrored: {count}"}

    def _mirror(self, run: Run, plan: MirrorPlan) -> Report:
        began = run.tools.clock.now()
        machines, problems = machines_of(run.snapshot, plan)
        run.step(f"{plan.name}: sending {len(machines)} VMs to {plan.peer}")
        children = [VmMirrorCreate(entry.vm.uuid, plan.peer, plan.pool, goal=plan.goal) for entry in machines]
        failed = {
            child.vm: reason
            for child, reason in send(run, children, MIRROR_TIMEOUT, AT_ONCE)
            if isinstance(child, VmOperation)
        }
        run.step(f"{plan.name}: removing old snapshots")
        problems += _remove_here(run, plan, machines)
        try:
            with connected(run, plan.peer) as peer:
                problems += _remove_there(run, plan, peer, machines)
        except STOPS:
            raise
        except PvcError as error:
            problems.append(f"old snapshots stay at {plan.peer}: {error}")
        outcomes = outcomes_of(machines, failed, {entry.vm.uuid: f"sent to {plan.peer}" for entry in machines})
        report = Report(
            run.snapshot.fsid, plan.name, "automirror", began, run.tools.clock.now(), outcomes, tuple(problems)
        )
        return tell(run, plan, report, self.mail, plan.errors_only or self.errors_only)


def _remove_here(run: Run, plan: MirrorPlan, machines: list[VmEntry]) -> list[str]:
    """A sentence for each snapshot that could not be removed."""
    removals = [
        VmSnapshotRemove(entry.vm.uuid, name)
        for entry in machines
        for name in surplus(
            _made(run.snapshot.vm_snapshots.get(entry.vm.uuid, {}).values()), plan.keep, _shared(run, entry)
        )
    ]
    failed = send_patiently(run, removals, REMOVAL_TIMEOUT)
    return [f"snapshot {each.name} stays: {reason}" for each, reason in failed if isinstance(each, VmSnapshotRemove)]


def _remove_there(run: Run, plan: MirrorPlan, peer: Peer, machines: list[VmEntry]) -> list[str]:
    problems = []
    for entry in machines:
        mirror = run.snapshot.mirrors.get(entry.vm.uuid)
        if mirror is None or mirror.peer != plan.peer:
            continue  # it was not sent, or is another cluster's by now
        for name in surplus(_made(peer.snapshots(entry.vm.uuid)), plan.peer_keep, _shared(run, entry)):
            run.checkpoint()
            try:
                peer.remove_snapshot(entry.vm.uuid, name)
            except STOPS:
                raise
            except PvcError as error:
                problems.append(f"snapshot {name} of VM {entry.vm.name} stays at {plan.peer}: {error}")
    return problems


def _made(snapshots: Any) -> dict[str, tuple[int, float]]:
    """The snapshots that retention may remove, each with its place in their order."""
    return {
        taken.name: taken.order
        for taken in snapshots
        if taken.purpose is Purpose.MIRROR and not taken.name.startswith(KEPT)
    }


def _shared(run: Run, entry: VmEntry) -> str:
    mirror = run.snapshot.mirrors.get(entry.vm.uuid)
    return mirror.shared if mirror is not None else ""
