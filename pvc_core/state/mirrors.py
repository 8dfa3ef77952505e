"""What is written of other clusters and of the mirrors that are shared with them, as they answer."""

from __future__ import annotations

import logging
from dataclasses import replace

from pvc_core.config import TimingConfig
from pvc_core.model.mirror import Mirror, MirrorRole, PeerWatch, Word
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import Vm, VmState
from pvc_core.rules.lineage import heard, watched
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState

log = logging.getLogger(__name__)


def note_call(
    state: ClusterState, peer: str, asked: float, ended: float, word: Word | None, timing: TimingConfig
) -> PeerWatch:
    """Write how a call to a peer ended, with its answer if there was one. Raises Stale when another process wrote."""
    entry = state.find(records.peer(peer))
    watch = watched(entry.value if entry is not None else None, peer, asked, ended, word, timing)
    transaction = state.transaction()
    if entry is None:
        transaction.create(records.peer(peer), watch)
    else:
        transaction.update(entry, watch)
    transaction.commit()
    return watch


def heed(state: ClusterState, snapshot: ClusterSnapshot, watch: PeerWatch, now: float, timing: TimingConfig) -> None:
    """Let our mirrors follow what a peer says of its own. What runs here and was superseded is shut down. Raises Stale
    for what somebody else is changing, which the next call finds again."""
    for uuid, theirs in watch.mirrors.items():
        known = snapshot.mirrors.get(uuid)
        if known is not None and known.peer in ("", watch.peer) and _follow(known, theirs, watch.peer) != known:
            _heed_one(state, watch.peer, theirs, now + timing.vm_shutdown_timeout)
    for uuid, mirror in snapshot.mirrors.items():
        entry = snapshot.vms.get(uuid)
        if mirror.role is MirrorRole.SUPERSEDED and entry is not None and not entry.holder:
            _set_aside(state, entry.vm, entry.version)


def _follow(known: Mirror, theirs: Mirror, peer: str) -> Mirror:
    return replace(heard(known, theirs), peer=peer)


def _heed_one(state: ClusterState, peer: str, theirs: Mirror, deadline: float) -> None:
    """The record of the machine is written too, so that nothing which was decided from an older one is carried out."""
    entry, vm = state.get(records.mirror(theirs.vm)), state.get(records.vm(theirs.vm))
    after = _follow(entry.value, theirs, peer)
    transaction = state.transaction().update(entry, after)
    if after.role is MirrorRole.SUPERSEDED and vm.value.state is VmState.START:
        transaction.update(vm, replace(vm.value, state=VmState.SHUTDOWN, shutdown_deadline=deadline))
    else:
        transaction.check(vm)
    transaction.commit()
    if after.role is not entry.value.role:
        log.warning(
            "mirror of VM %s: %s => %s: cluster %s leads since epoch %d",
            vm.value.name, entry.value.role, after.role, peer, theirs.lineage.epoch,
        )  # fmt: skip


def _set_aside(state: ClusterState, vm: Vm, version: int) -> None:
    """A machine that was superseded and runs nowhere becomes a mirror, which nothing but force starts."""
    if vm.state in (VmState.START, VmState.STOP, VmState.DISABLE):
        entry = state.get(records.vm(vm.uuid))
        if entry.version == version:
            state.transaction().update(entry, replace(entry.value, state=VmState.MIRROR)).commit()
