"""What is wrong with the mirrors of machines at other clusters, and with what other clusters send. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_core.model.fault import Finding
from pvc_core.model.mirror import Mirror, MirrorRole, PeerWatch, Transfer
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import VmState
from pvc_core.rules.lineage import Relation, compare, lag

SILENCE = 60.0  # seconds without an answer of another cluster
UNFINISHED = 3600.0  # seconds for which nothing more has come of a snapshot

PEER_SILENT = 10
LAGS = 10
SUPERSEDED = 25
FORKED = 25
HANDING = 25
UNHEARD = 25
NAMELESS = 10
LEFT = 5


def findings(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    """The time of the last call to the other cluster stands for now: it is seconds old at most."""
    mirrored = {mirror.peer for mirror in snapshot.mirrors.values()}
    for name, watch in snapshot.peers.items():
        silent = watch.attempted - max(watch.answered, watch.since)
        if name in mirrored and silent > SILENCE:
            message = f"cluster {name} does not answer: no mirror there is brought up to date"
            yield Finding(f"peer-silent:{name}", "", PEER_SILENT, message)
    for uuid, mirror in snapshot.mirrors.items():
        entry, watch_of = snapshot.vms.get(uuid), snapshot.peers.get(mirror.peer)
        if entry is not None:
            yield from _of_lead(snapshot, entry, mirror, watch_of)
            if watch_of is not None and mirror.role is MirrorRole.PRIMARY:
                yield from _of_primary(entry, mirror, watch_of)
    for transfer in snapshot.transfers.values():
        if not any(holder == transfer.id for holder in snapshot.locks.values()):
            yield _unfinished(snapshot, transfer)


def _unfinished(snapshot: ClusterSnapshot, transfer: Transfer) -> Finding:
    """Of a snapshot of which nothing comes at the moment."""
    entry = snapshot.vms.get(transfer.vm)
    title = transfer.vm if entry is None else entry.vm.name
    message = (
        f"snapshot {transfer.snapshot} of VM {title} has come only in part, and nothing more comes: send it again from "
        f"its cluster, which goes on from there, or give up what is here: pvc vm snapshot abandon {title} "
        f"{transfer.snapshot}"
    )
    return Finding(f"transfer:{transfer.id}", "", LEFT, message, patience=UNFINISHED)


def _of_lead(snapshot: ClusterSnapshot, entry: VmEntry, mirror: Mirror, watch: PeerWatch | None) -> Iterator[Finding]:
    vm, theirs = entry.vm, watch.mirrors.get(entry.vm.uuid) if watch is not None else None
    if mirror.role is MirrorRole.SUPERSEDED:
        message = (
            f"VM {vm.name}: cluster {mirror.peer} was promoted by force and leads, so it is not started here: "
            f"run pvc vm mirror resync {vm.name}, or promote it here by force"
        )
        yield Finding(f"superseded:{vm.uuid}", "", SUPERSEDED, message)
    elif theirs is not None and compare(mirror.lineage, theirs.lineage) is Relation.FORKED:
        message = (
            f"VM {vm.name}: this cluster and cluster {mirror.peer} were both promoted on their own, and each has what "
            "the other lacks: stop it on the side that is to give way, and run pvc vm mirror resync there"
        )
        yield Finding(f"forked:{vm.uuid}", "", FORKED, message)
    elif mirror.role is MirrorRole.PRIMARY and not mirror.peer:
        message = (
            f"VM {vm.name} was handed over by a cluster that has no name here: add that as a peer (pvc peer add), so "
            "that this side hears of a promotion there, and can send the VM back; or end the mirror"
        )
        yield Finding(f"nameless:{vm.uuid}", "", NAMELESS, message)
    elif mirror.role is MirrorRole.HANDING and f"vm:{vm.uuid}" not in snapshot.locks:
        message = (
            f"VM {vm.name} is stopped, and whether cluster {mirror.peer} took it over is not known: "
            "promote it again, or take it back"
        )
        yield Finding(f"handing:{vm.uuid}", "", HANDING, message)


def _of_primary(entry: VmEntry, mirror: Mirror, watch: PeerWatch) -> Iterator[Finding]:
    vm, led_since = entry.vm, mirror.lineage.promotions[-1].time
    if vm.state is VmState.START and not entry.holder and watch.answered < watch.since and led_since < watch.since:
        message = (
            f"VM {vm.name} is not started: this site was away, and cluster {mirror.peer} does not say whether it took "
            f"over; when you know that it did not: pvc vm start --force {vm.name}"
        )
        yield Finding(f"unheard:{vm.uuid}", "", UNHEARD, message)
    behind = lag(mirror, watch, watch.attempted)
    behind = watch.attempted - led_since if behind is None else behind
    if 0 < mirror.goal < behind:
        late = f"{behind:.0f} s behind, more than {mirror.goal:.0f} s"
        message = f"VM {vm.name}: its mirror at cluster {mirror.peer} is {late}"
        yield Finding(f"mirror-lag:{vm.uuid}", "", LAGS, message)
