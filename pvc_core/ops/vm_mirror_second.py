"""Mirrors of a machine, from the side that receives it: take over when asked, or by force; give way and follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.task import Lane, Role
from pvc_core.model.vm import VmState
from pvc_core.model.vm_snapshot import Purpose, VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_settled_vm, find_vm
from pvc_core.ops.mirror_steps import KEPT, MirrorOperation, become, connected, find_mirror, go_back, own_fsid, write
from pvc_core.ops.shipping import shipping_locks
from pvc_core.ops.snapshot_steps import create_vm_snapshot, find_vm_snapshot, roll_back_disks
from pvc_core.ops.steps import read_vm, update_vm, wait_running
from pvc_core.ports import Peer
from pvc_core.rules.lineage import Relation, compare, hindrance, lag, promoted

ABSENCE_MARGIN = 15.0  # seconds: when the other side last answered is known to two calls or so


@dataclass(frozen=True)
class VmMirrorTakeOver(MirrorOperation):
    """What the other cluster sends when it hands a machine over: ``lineage`` ends with the promotion that it asks for.
    One that it leads itself takes such a request back."""

    lineage: Lineage
    start: bool = False

    task_name = "vm.mirror.take_over"
    summary = "Take a VM over from another cluster"
    lane = Lane.BULK  # disks may have to be rolled back
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        mirror, name = find_mirror(snapshot, self.vm), find_vm(snapshot, self.vm).vm.name
        match compare(mirror.lineage, self.lineage):
            case Relation.AHEAD:
                raise Conflict(f"VM {name}: epoch {mirror.lineage.epoch} has begun, so this request comes too late")
            case Relation.FORKED:
                raise Conflict(f"VM {name}: both sides were promoted on their own")
            case Relation.BEHIND if mirror.role is not MirrorRole.SECONDARY:
                raise Conflict(f"VM {name} is not a mirror that waits here: its role is {mirror.role}")
        if mirror.role is MirrorRole.SECONDARY and self.lineage.leader == own_fsid(snapshot):
            find_vm_snapshot(snapshot, self.vm, self.lineage.promotions[-1].base)

    def execute(self, run: Run) -> Mapping[str, Any]:
        mirror, name = find_mirror(run.snapshot, self.vm), find_vm(run.snapshot, self.vm).vm.name
        leads = self.lineage.leader == own_fsid(run.snapshot)
        run.plan(2)
        run.step("Comparing the two sides")
        if not leads:
            write(run, self.vm, lambda now: replace(now, lineage=self.lineage))
            return {"message": f"VM {name} stays a mirror: cluster {mirror.peer} leads"}
        if mirror.role is MirrorRole.SECONDARY:
            base = find_vm_snapshot(run.snapshot, self.vm, self.lineage.promotions[-1].base)
            with run.holding(*shipping_locks(self.vm, base.name)[1:]):
                go_back(run, base)
            _lead(run, mirror, self.lineage, base, run.tools.clock.now(), VmState.START if self.start else VmState.STOP)
        if self.start:
            run.step(f"Starting VM {name}")
            wait_running(run, read_vm(run, self.vm).vm)
        return {"message": f"VM {name} is led by this cluster"}


@dataclass(frozen=True)
class VmMirrorForce(MirrorOperation):
    """Lead without asking the other side: for when that is lost. A mirror goes on from its newest whole snapshot; what
    the other side wrote after that is there only, until that side is made to follow (see ``VmMirrorResync``). A side
    that led before goes on from its own disks. ``state`` is what becomes of the machine."""

    state: str = VmState.START.value

    task_name = "vm.mirror.force"
    summary = "Promote a mirror without the other cluster"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.state not in (VmState.START, VmState.STOP, VmState.DISABLE):
            raise BadRequest(f"state must be start, stop or disable, not {self.state!r}")
        entry, mirror = find_settled_vm(snapshot, self.vm), snapshot.mirrors.get(self.vm)
        if entry.holder:
            raise Conflict(f"VM {entry.vm.name} runs on node {entry.holder}")
        if entry.vm.state is not VmState.MIRROR and mirror is None:
            raise Conflict(f"VM {entry.vm.name} is no mirror, so there is nothing to force")
        if mirror is not None:
            own_fsid(snapshot)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """An earlier attempt may have come to the end."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        entry, mirror = find_vm(run.snapshot, self.vm), run.snapshot.mirrors.get(self.vm)
        run.plan(2)
        run.step(f"Looking how old the copy of VM {entry.vm.name} is")
        age = None
        if mirror is not None and (mirror.role is not MirrorRole.PRIMARY or self._is_hindered(run)):
            self._await_absence(run, mirror, entry.vm.name)
            age = self._promote(run, mirror)
        elif entry.vm.state.value != self.state:
            age = self._adopt(run, entry)
        if self.state == VmState.START:
            run.step(f"Starting VM {entry.vm.name}")
            wait_running(run, read_vm(run, self.vm).vm)
        lost = f"; its disks are {age:.0f} s older than the promotion" if age is not None else ""
        return {"message": f"VM {entry.vm.name} is led by this cluster{lost}"}

    def _await_absence(self, run: Run, mirror: Mirror, name: str) -> None:
        """Let a side that lost its power be away for so long that it knows it, and asks who leads before it starts
        anything. One that answers is up, and hears of the promotion in seconds."""
        watch, now = run.snapshot.peers.get(mirror.peer), run.tools.clock.now()
        if watch is None:
            return
        absence = run.tools.config.timing.mirror_away + ABSENCE_MARGIN
        left = min(absence, watch.answered + absence - now)
        if left <= 0:
            return
        run.plan(2)
        run.step(
            f"Waiting until cluster {mirror.peer} answers, or has been silent for {absence:.0f} s: only then it asks "
            f"before it starts VM {name}"
        )
        asked = replace(watch, answered=now)
        run.wait(f"cluster {mirror.peer}", lambda there: there.peers.get(mirror.peer, asked).answered >= now, left)

    def _is_hindered(self, run: Run) -> bool:
        return hindrance(run.snapshot, self.vm, run.tools.clock.now(), run.tools.config.timing) != ""

    def _adopt(self, run: Run, entry: VmEntry) -> float | None:
        """A plain copy, which no other cluster counts on, or a machine that is led here already."""
        taken = run.snapshot.vm_snapshots.get(self.vm, {}).values() if entry.vm.state is VmState.MIRROR else ()
        base = max(taken, key=lambda one: one.order, default=None)
        if base is not None:
            self._go_back(run, base)
        update_vm(run, self.vm, become(run, VmState(self.state)))
        return run.tools.clock.now() - base.created if base is not None else None

    def _promote(self, run: Run, mirror: Mirror) -> float | None:
        now, watch = run.tools.clock.now(), run.snapshot.peers.get(mirror.peer)
        theirs = watch.mirrors.get(self.vm) if watch is not None else None
        known = [mirror.lineage, *([theirs.lineage] if theirs is not None else [])]
        lineage = promoted(known, own_fsid(run.snapshot), mirror.shared, forced=True, now=now)
        age = lag(mirror, watch, now) if mirror.role is MirrorRole.SECONDARY else None
        if mirror.role is MirrorRole.SECONDARY:
            base = find_vm_snapshot(run.snapshot, self.vm, mirror.shared)
            self._go_back(run, base)
            _lead(run, mirror, lineage, base, now - (age or 0.0), VmState(self.state))
        else:  # its own disks are what it goes on from
            write(
                run,
                self.vm,
                lambda now: replace(now, role=MirrorRole.PRIMARY, lineage=lineage),
                become(run, VmState(self.state)),
            )
        return age

    def _go_back(self, run: Run, base: VmSnapshot) -> None:
        with run.holding(*shipping_locks(self.vm, base.name)[1:]):
            go_back(run, base)


@dataclass(frozen=True)
class VmMirrorResync(MirrorOperation):
    """Give way to the other side: keep what this one wrote alone as a snapshot, go back to the newest snapshot that
    both have, and follow from there."""

    task_name = "vm.mirror.resync"
    summary = "Make a superseded VM the mirror of the one that leads"
    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        mirror, entry = find_mirror(snapshot, self.vm), find_settled_vm(snapshot, self.vm)
        if mirror.role in (MirrorRole.SECONDARY, MirrorRole.HANDING):
            raise Conflict(f"VM {entry.vm.name} has nothing of its own here: its role is {mirror.role}")
        if entry.holder or entry.vm.state is VmState.START:
            raise Conflict(f"VM {entry.vm.name} must be stopped to follow cluster {mirror.peer}")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if find_mirror(snapshot, self.vm).role is not MirrorRole.SECONDARY:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        mirror, name = find_mirror(run.snapshot, self.vm), find_vm(run.snapshot, self.vm).vm.name
        kept = f"{KEPT}{mirror.lineage.epoch}"
        if mirror.role is not MirrorRole.SECONDARY:
            with connected(run, mirror.peer) as peer:
                run.plan(2)
                run.step(f"Asking cluster {mirror.peer}")
                theirs, shared = self._ask(run, peer, mirror)
            run.step(f"Keeping what was written here alone as snapshot {kept}")
            if kept not in run.snapshot.vm_snapshots.get(self.vm, {}):
                create_vm_snapshot(run, self.vm, kept, Purpose.USER)
                run.tools.view.settle()
            with run.holding(*shipping_locks(self.vm, shared.name)[1:]):
                run.plan(len(shared.disks))
                roll_back_disks(run, shared)
            write(
                run,
                self.vm,
                lambda now: replace(
                    now,
                    role=MirrorRole.SECONDARY,
                    lineage=theirs.lineage,
                    shared=shared.name,
                    shared_created=theirs.shared_created if shared.name == theirs.shared else shared.created,
                ),
                lambda vm: replace(vm, state=VmState.MIRROR, shutdown_deadline=0.0),
            )
        return {
            "message": f"VM {name} follows cluster {mirror.peer}; what was written here alone is its snapshot {kept}",
            "kept": kept,
        }

    def _ask(self, run: Run, peer: Peer, mirror: Mirror) -> tuple[Mirror, VmSnapshot]:
        """The other side's record and the newest snapshot that both have. Raises Conflict when it does not lead."""
        word = peer.hear()
        theirs = word.mirrors.get(self.vm)
        if theirs is None or theirs.role is not MirrorRole.PRIMARY or theirs.lineage.leader != word.fsid:
            raise Conflict(f"cluster {mirror.peer} does not lead this VM, so there is nothing to follow there")
        if compare(mirror.lineage, theirs.lineage) in (Relation.SAME, Relation.AHEAD):
            raise Conflict(f"cluster {mirror.peer} knows no promotion that this side does not know")
        there = {(one.name, one.created) for one in peer.snapshots(self.vm)}
        here = run.snapshot.vm_snapshots.get(self.vm, {})
        both = [one for one in here.values() if (one.name, one.created) in there]
        if not both:
            raise Conflict(
                "the two sides have no snapshot in common: save what you need of this copy (vm snapshot export), end "
                f"its mirror and remove it; then create the mirror anew from cluster {mirror.peer}"
            )
        base = here.get(theirs.lineage.promotions[-1].base)
        return theirs, base if base in both and base is not None else max(both, key=lambda one: one.order)


def _lead(run: Run, mirror: Mirror, lineage: Lineage, base: VmSnapshot, created: float, state: VmState) -> None:
    """Become the primary from a snapshot that the disks stand at, ``created`` by this side's clock."""
    write(
        run,
        mirror.vm,
        lambda now: replace(now, role=MirrorRole.PRIMARY, lineage=lineage, shared=base.name, shared_created=created),
        become(run, state),
    )
    run.commit_point()
