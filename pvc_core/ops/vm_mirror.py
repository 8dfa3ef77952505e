"""Mirrors of a machine at another cluster, from the side where it runs: send, hand over, take back, end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Conflict, Failed, PvcError
from pvc_core.model.mirror import Mirror, MirrorRole, Word
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.model.vm import Vm, VmState
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ops.base import Run
from pvc_core.ops.common import VmOperation, find_led_vm, find_vm, require_holder_answers
from pvc_core.ops.mirror_steps import (
    MirrorOperation,
    become,
    connected,
    find_mirror,
    leaving,
    own_fsid,
    send,
    take_snapshot,
    unsent,
    write,
)
from pvc_core.ops.shipping import shipping_locks
from pvc_core.ops.snapshot_steps import remove_vm_snapshot, snapshot_locks, snapshot_node
from pvc_core.ops.steps import SHUTDOWN_MARGIN, change, commit, read_vm, wait_running, wait_stopped
from pvc_core.ops.vm_remove import VmRemove
from pvc_core.ports import Peer
from pvc_core.rules.lineage import begun, heard, promoted
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

REMOVE_TIMEOUT = 3600.0  # seconds


@dataclass(frozen=True)
class _FromPrimary(VmOperation):
    """``pool`` is where the disks go at the other side, empty for pools of the same names."""

    peer: str
    pool: str = ""

    lane = Lane.BULK
    role = Role.ADMINISTRATOR
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return shipping_locks(self.vm)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return snapshot_node(snapshot, self.vm)

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry, mirror = find_led_vm(snapshot, self.vm), snapshot.mirrors.get(self.vm)
        require_holder_answers(snapshot, entry)
        own_fsid(snapshot)
        if mirror is None:
            return
        if mirror.peer not in ("", self.peer):
            raise Conflict(f"VM {entry.vm.name} is mirrored with cluster {mirror.peer}: end that first")
        if mirror.role is not MirrorRole.PRIMARY:
            raise Conflict(f"VM {entry.vm.name} is not led by this cluster: its role is {mirror.role}")


@dataclass(frozen=True)
class VmMirrorCreate(_FromPrimary):
    """Snapshot a machine and send what the other cluster lacks of it. ``goal`` is the lag in seconds beyond which a
    fault is raised, None for what it was."""

    goal: float | None = None

    task_name = "vm.mirror.create"
    summary = "Mirror a VM to another cluster"

    def execute(self, run: Run) -> Mapping[str, Any]:
        with connected(run, self.peer) as peer:
            mirror = bring_up_to_date(run, peer, self)
        if self.goal is not None and self.goal != mirror.goal:
            write(run, self.vm, lambda now: replace(now, goal=self.goal or 0.0))
        name = read_vm(run, self.vm).vm.name
        return {
            "message": f"Cluster {self.peer} has VM {name} as of snapshot {mirror.shared}",
            "snapshot": mirror.shared,
        }


@dataclass(frozen=True)
class VmMirrorPromote(_FromPrimary):
    """Shut a machine down here, send the last of it, and have the other cluster start it. The mirror goes the other way
    from then on, unless the machine is to be removed here."""

    remove: bool = False

    task_name = "vm.mirror.promote"
    summary = "Hand a VM over to another cluster"

    def check(self, snapshot: ClusterSnapshot) -> None:
        mirror = snapshot.mirrors.get(self.vm)
        if mirror is None or mirror.role is not MirrorRole.HANDING:
            super().check(snapshot)
        elif mirror.peer != self.peer:
            raise Conflict(f"it is being handed over to cluster {mirror.peer}: finish that, or take it back")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        mirror = snapshot.mirrors.get(self.vm)
        if mirror is not None and mirror.role is not MirrorRole.SECONDARY:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        entry, mirror = run.snapshot.vms.get(self.vm), run.snapshot.mirrors.get(self.vm)
        if entry is None:  # an earlier attempt has come to the end
            return {"message": f"The VM is handed over to cluster {self.peer}"}
        name = entry.vm.name
        with connected(run, self.peer) as peer:
            if entry.holder:
                bring_up_to_date(run, peer, self)  # so that the machine is off for the last of it only
            with run.holding(*snapshot_locks(run.snapshot, self.vm)):
                if entry.vm.state is not VmState.MIRROR:
                    mirror = self._give(run, peer)
                doubt = ""
                if mirror is not None and mirror.role is MirrorRole.HANDING:
                    doubt = _hand_over(run, peer, mirror, name)
            if self.remove:
                self._remove(run, peer)
        return {"message": f"VM {name} is handed over to cluster {self.peer}{doubt}"}

    def _give(self, run: Run, peer: Peer) -> Mirror:
        """Bring the machine to rest, have the other side know all of it, and write that it is handed over: from then
        on it is not started here."""
        run.plan(4)
        mirror = tie(run, self, peer.hear())
        starts = _shut_down(run, mirror)
        mirror = send(run, peer, mirror, take_snapshot(run, self.vm))
        word = peer.hear()
        lineage = promoted([mirror.lineage], word.fsid, mirror.shared, forced=False, now=word.time)
        handing = write(
            run,
            self.vm,
            lambda now: replace(now, role=MirrorRole.HANDING, lineage=lineage, starts=starts),
            lambda vm: replace(vm, state=VmState.MIRROR, shutdown_deadline=0.0),
        )
        run.commit_point()
        return handing

    def _remove(self, run: Run, peer: Peer) -> None:
        """Past the hand-over: the other side's is the only copy that counts."""
        left = "the VM is still here too, as the mirror of the one there: end the mirror and remove it"
        with leaving(left):
            peer.forget_mirror(self.vm)
            taken = sorted(run.snapshot.vm_snapshots.get(self.vm, {}))
            run.plan(2 + len(taken))
            with run.holding(*snapshot_locks(run.snapshot, self.vm)):
                for snapshot in taken:
                    run.step(f"Removing snapshot {snapshot}")
                    remove_vm_snapshot(run, self.vm, snapshot)
                run.step("Ending the mirror")
                _forget(run, self.vm)
            run.step("Removing the VM here")
            failed = run.progress.wait_children([VmRemove(self.vm)], REMOVE_TIMEOUT, 1, lambda _: None)
            if failed:
                raise Failed(f"the VM is not removed here: {failed[0][1]}")


@dataclass(frozen=True)
class VmMirrorTakeBack(MirrorOperation):
    """Call off a hand-over whose end the other cluster has not confirmed. It has to answer: it may run the machine."""

    task_name = "vm.mirror.take_back"
    summary = "Take back a VM that was being handed over"
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        if find_mirror(snapshot, self.vm).role is not MirrorRole.HANDING:
            raise Conflict("the VM is not being handed over, so there is nothing to take back")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        find_mirror(snapshot, self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        mirror, name = find_mirror(run.snapshot, self.vm), find_vm(run.snapshot, self.vm).vm.name
        if mirror.role is MirrorRole.HANDING:
            run.plan(2)
            run.step(f"Asking cluster {mirror.peer}")
            with connected(run, mirror.peer) as peer:
                if _settled(run, mirror, peer.hear()):
                    raise Conflict(f"cluster {mirror.peer} took VM {name} over: promote it there to bring it back")
                _take_back(run, peer, mirror)
        return {"message": f"VM {name} is led by this cluster again"}


@dataclass(frozen=True)
class VmMirrorRemove(MirrorOperation):
    """Forget the tie to the other cluster at this side. What is here stays: a machine that runs runs on, and a copy
    stays in state mirror until it is started by force or removed."""

    task_name = "vm.mirror.remove"
    summary = "End the mirror of a VM at this cluster"
    role = Role.ADMINISTRATOR
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        if find_mirror(snapshot, self.vm).role is MirrorRole.HANDING:
            raise Conflict("the VM is being handed over: finish that, or take it back, first")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        if self.vm in snapshot.mirrors:
            self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Ending the mirror")
        _forget(run, self.vm)
        return {
            "message": f"VM {find_vm(run.snapshot, self.vm).vm.name} has no mirror any more, as far as this side goes"
        }


def bring_up_to_date(run: Run, peer: Peer, wanted: _FromPrimary) -> Mirror:
    """Send a new snapshot, after the one that an earlier call did not bring to its end; the first makes the tie."""
    run.plan(3)
    run.step(f"Asking cluster {wanted.peer}")
    word = peer.hear()
    known = _lead(run, wanted, word)
    pending = unsent(run.snapshot, peer, wanted.vm, known)
    resumed = pending is not None
    if pending is None:
        pending = _take(run, wanted.vm)
    with leaving(f"snapshot {pending.name} stays, and is sent first by the next call"):
        mirror = send(run, peer, tie(run, wanted, word), pending)
    run.keep()
    if resumed:
        run.plan(2)
        pending = _take(run, wanted.vm)
        with leaving(f"snapshot {pending.name} stays, and is sent first by the next call"):
            mirror = send(run, peer, mirror, pending)
    return mirror


def _take(run: Run, uuid: str) -> VmSnapshot:
    """A snapshot that stays whatever becomes of it: where the other side has a part of it, that is not sent again."""
    with run.holding(*snapshot_locks(run.snapshot, uuid)):
        taken = take_snapshot(run, uuid)
    run.keep()
    return taken


def tie(run: Run, wanted: _FromPrimary, word: Word) -> Mirror:
    """The record of the mirror, made when there is none yet; that is undone unless the other side has it by then."""
    known = _lead(run, wanted, word)
    if known is not None:
        return write(run, wanted.vm, lambda now: replace(now, peer=wanted.peer, pool=wanted.pool or now.pool))
    own, theirs = own_fsid(run.snapshot), word.mirrors.get(wanted.vm)
    lineage = theirs.lineage if theirs is not None else begun(own, run.tools.clock.now())
    mirror = Mirror(wanted.vm, wanted.peer, MirrorRole.PRIMARY, lineage, wanted.pool)

    def create(transaction: Transaction) -> None:
        transaction.create(records.mirror(wanted.vm), mirror)

    def withdraw() -> None:
        with closing(run.tools.peers.connect(wanted.peer)) as again:  # another one, which a wish to cancel does not end
            if wanted.vm in again.hear().mirrors:
                raise Failed("the other side has it by now")
        _forget(run, wanted.vm)

    left = f"the machine counts as mirrored with cluster {wanted.peer}: create the mirror again, or remove it"
    change(run, lambda: commit(run, create), left, withdraw)
    return mirror


def _lead(run: Run, wanted: _FromPrimary, word: Word) -> Mirror | None:
    """The present record. Raises Conflict where the other side would not take what this one sends."""
    entry, theirs = run.tools.state.find(records.mirror(wanted.vm)), word.mirrors.get(wanted.vm)
    own = own_fsid(run.snapshot)
    if word.fsid == own:
        raise Conflict(f"cluster {wanted.peer} is this cluster itself")
    leader = theirs is not None and theirs.lineage.leader != own
    if entry is not None and theirs is not None:
        leader = heard(entry.value, theirs).role is not MirrorRole.PRIMARY
    if leader:
        raise Conflict(f"cluster {wanted.peer} was promoted and leads this VM: run vm mirror resync here first")
    return entry.value if entry is not None else None


def _shut_down(run: Run, mirror: Mirror) -> bool:
    """Have the guest power off, taken back by an undo; whether the machine is to run where it is led. An attempt after
    this one finds that in the mirror's record, since the machine no longer shows it."""
    before = read_vm(run, mirror.vm)
    run.step(f"Shutting VM {before.vm.name} down")
    starts = before.vm.state is VmState.START or (run.attempt > 1 and mirror.starts)
    if not before.holder and not starts:
        return False
    timeout = run.tools.config.timing.vm_shutdown_timeout
    state, deadline = VmState.START if starts else before.vm.state, run.tools.clock.now() + timeout

    def shut_down(vm: Vm) -> Vm:
        return replace(vm, state=VmState.SHUTDOWN, shutdown_deadline=deadline) if before.holder else vm

    change(
        run,
        lambda: write(run, mirror.vm, lambda now: replace(now, starts=starts), shut_down),
        f"VM {before.vm.name} is shut down",
        lambda: write(
            run,
            mirror.vm,
            lambda now: replace(now, starts=False),
            lambda vm: replace(vm, state=state, shutdown_deadline=0.0),
        ),
    )
    if before.holder:
        wait_stopped(run, before.vm, timeout + SHUTDOWN_MARGIN)
    return starts


def _hand_over(run: Run, peer: Peer, mirror: Mirror, name: str) -> str:
    """Have the other side take over; what is amiss there nevertheless. Where it says that it did not, this side leads
    again; where it says nothing, the machine is started at neither side until it does or a person decides."""
    run.step(f"Waiting for cluster {mirror.peer} to take over")
    unknown = (
        f"VM {name} is stopped here, and whether cluster {mirror.peer} took it over is not known: promote it again to "
        "finish that, or take it back",
    )
    refused: PvcError | None = None
    with leaving(*unknown):
        try:
            peer.take_over(mirror.vm, mirror.lineage, mirror.starts)
        except PvcError as error:
            refused = error
        if _settled(run, mirror, peer.hear()):
            return f", where something is amiss: {refused}" if refused is not None else ""
        _take_back(run, peer, mirror)
    raise Failed(f"cluster {mirror.peer} did not take over: {refused}", left=(f"VM {name} is led by this side again",))


def _settled(run: Run, mirror: Mirror, word: Word) -> bool:
    """Whether the other side has taken over, which is written then."""
    theirs = word.mirrors.get(mirror.vm)
    after = heard(mirror, theirs) if theirs is not None else mirror
    if after != mirror:
        write(run, mirror.vm, lambda _: after)
    if after.role is MirrorRole.SUPERSEDED:
        raise Conflict(f"cluster {mirror.peer} was promoted by force meanwhile: run vm mirror resync here")
    return after.role is MirrorRole.SECONDARY


def _take_back(run: Run, peer: Peer, mirror: Mirror) -> None:
    """Lead again, once the other side has noted that it must not take over any more."""
    own, now = own_fsid(run.snapshot), run.tools.clock.now()
    lineage = promoted([mirror.lineage], own, mirror.shared, forced=False, now=now)
    peer.take_over(mirror.vm, lineage, start=False)
    state = VmState.START if mirror.starts else VmState.STOP
    write(
        run,
        mirror.vm,
        lambda now: replace(now, role=MirrorRole.PRIMARY, lineage=lineage, starts=False),
        become(run, state),
    )
    if state is VmState.START:
        wait_running(run, read_vm(run, mirror.vm).vm)


def _forget(run: Run, uuid: str) -> None:
    """Delete the record of a mirror; no error when there is none."""

    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.mirror(uuid))
        if entry is not None:
            transaction.delete(entry)

    commit(run, prepare)
