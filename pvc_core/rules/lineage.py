"""Which of two clusters leads a mirrored machine, and what follows for the other one. Pure.

Each change of the leading side is a promotion with an epoch. Both sides keep the list of them; a side whose list is the
beginning of the other's was superseded, and two lists of which neither is the other's beginning have forked: both sides
were promoted on their own, both may have written, and only a person decides which of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from pvc_core.config import TimingConfig
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, PeerWatch, Promotion, Word
from pvc_core.model.snapshot import ClusterSnapshot


class Relation(StrEnum):
    """How our lineage stands to the other side's."""

    SAME = "same"
    AHEAD = "ahead"  # it has not heard of our last promotion yet
    BEHIND = "behind"  # the other side went on without us
    FORKED = "forked"  # both went on, each on its own


def compare(ours: Lineage, theirs: Lineage) -> Relation:
    mine, other = ours.promotions, theirs.promotions
    common = min(len(mine), len(other))
    if mine[:common] != other[:common]:
        return Relation.FORKED
    if len(mine) == len(other):
        return Relation.SAME
    return Relation.AHEAD if len(mine) > len(other) else Relation.BEHIND


def begun(cluster: str, now: float) -> Lineage:
    """The lineage of a machine that gets its first mirror, and runs at ``cluster`` (an fsid)."""
    return Lineage((Promotion(1, cluster, base="", forced=False, time=now),))


def promoted(known: Iterable[Lineage], cluster: str, base: str, *, forced: bool, now: float) -> Lineage:
    """The lineage after the next promotion. ``known`` is what we know of both sides, ours first: it goes on from the
    other side's where that contains ours, and its epoch is above any of them in any case."""
    ours, *others = known
    epoch = max(lineage.epoch for lineage in (ours, *others)) + 1
    for theirs in others:
        if compare(ours, theirs) is Relation.BEHIND:
            ours = theirs
    return Lineage((*ours.promotions, Promotion(epoch, cluster, base, forced, now)))


def supersedes(theirs: Lineage, ours: Lineage) -> bool:
    """Whether a cluster that leads ``ours`` has to give way to the one that leads ``theirs``."""
    return theirs.epoch > ours.epoch and theirs.leader != ours.leader


def refusal(mirror: Mirror | None, offered: Lineage, sender: str) -> str:
    """Why a snapshot that the cluster ``sender`` (its fsid) offers must not be received; empty: it may be.

    ``mirror`` is the receiver's record, None where it has none of that machine."""
    if offered.leader != sender:
        return f"the cluster that sends it does not lead: cluster {offered.leader} does, since epoch {offered.epoch}"
    if mirror is None:
        return ""
    match compare(mirror.lineage, offered):
        case Relation.FORKED:
            return (
                "both sides were promoted on their own, and each may hold what the other lacks: "
                "run pvc vm mirror resync on the side that is to give way"
            )
        case Relation.AHEAD:
            return (
                f"the sender knows epoch {offered.epoch} only, and epoch {mirror.lineage.epoch} has begun: "
                "it was superseded, and needs pvc vm mirror resync"
            )
    if mirror.role in (MirrorRole.PRIMARY, MirrorRole.SUPERSEDED):
        return "what was written here alone would be lost: run pvc vm mirror resync here first"
    return ""


def received(
    mirror: Mirror | None, vm: str, peer: str, offered: Lineage, snapshot: str, created: float, pool: str = ""
) -> Mirror:
    """The receiver's record once a snapshot, ``created`` by the sender's clock, has come whole. ``peer`` is the
    sender's name here, empty where it has none; ``pool`` is where the disks go on their way back. What ``refusal``
    refuses must not come here."""
    before = mirror or Mirror(vm, peer, MirrorRole.SECONDARY, offered)
    if before.shared and before.lineage == offered and created < before.shared_created:
        snapshot, created = before.shared, before.shared_created  # an older one was sent after it
    return replace(
        before,
        peer=peer or before.peer,
        role=MirrorRole.SECONDARY,
        lineage=offered,
        pool=pool or before.pool,
        shared=snapshot,
        shared_created=created,
    )


def heard(mirror: Mirror, theirs: Mirror) -> Mirror:
    """Our record once the other side's is known: a primary may turn out to be superseded, and a side that was handing
    over to have done so."""
    if mirror.role is MirrorRole.PRIMARY and supersedes(theirs.lineage, mirror.lineage):
        return replace(mirror, role=MirrorRole.SUPERSEDED)
    if mirror.role is MirrorRole.HANDING and theirs.role is MirrorRole.PRIMARY:
        match compare(mirror.lineage, theirs.lineage):
            case Relation.SAME | Relation.BEHIND:
                return replace(theirs, peer=mirror.peer, role=MirrorRole.SECONDARY, pool=mirror.pool, goal=mirror.goal)
            case Relation.FORKED:  # it was promoted by force, from an older snapshot than the one it was handed
                return replace(mirror, role=MirrorRole.SUPERSEDED)
    return mirror


def hindrance(snapshot: ClusterSnapshot, uuid: str, now: float, timing: TimingConfig) -> str:
    """Why a machine must not be started at this site now; empty: it may be.

    A site that was up all the time may start what it leads although the link is cut. One that was away waits until the
    other side has answered since, or a person has promoted the machine here since.
    """
    mirror = snapshot.mirrors.get(uuid)
    if mirror is None:
        return ""
    watch = snapshot.peers.get(mirror.peer)
    theirs = watch.mirrors.get(uuid) if watch is not None else None
    if mirror.role is not MirrorRole.PRIMARY:
        return _HINDRANCES[mirror.role].format(peer=mirror.peer or mirror.lineage.leader)
    if theirs is not None and supersedes(theirs.lineage, mirror.lineage):
        return f"cluster {mirror.peer} was promoted (epoch {theirs.lineage.epoch}, here {mirror.lineage.epoch})"
    if not mirror.peer:
        return ""  # it was handed over by a cluster that has no name here, so there is none to ask
    fresh = watch is not None and abs(now - watch.attempted) <= timing.mirror_away
    since = watch.since if watch is not None and fresh else now - timing.mirror_away
    if mirror.lineage.promotions[-1].time >= since:
        return ""
    if watch is None or not fresh:
        return f"cluster {mirror.peer} has not been asked yet whether it took over"
    if watch.answered >= since or 0 < timing.mirror_unheard <= now - since:
        return ""
    return f"this site was away, and cluster {mirror.peer} has not answered since whether it took over"


_HINDRANCES = {
    MirrorRole.SECONDARY: "it is the mirror of a VM of cluster {peer}",
    MirrorRole.HANDING: "it is being handed over to cluster {peer}",
    MirrorRole.SUPERSEDED: "cluster {peer} was promoted meanwhile, and this side waits for pvc vm mirror resync",
}


def watched(
    before: PeerWatch | None, peer: str, asked: float, ended: float, word: Word | None, timing: TimingConfig
) -> PeerWatch:
    """The watch after a call to a peer, made and answered (or given up) at these times; ``word`` is its answer. A call
    that takes long is noted meanwhile, as one without an answer."""
    before = before or PeerWatch(peer, since=asked, attempted=ended)
    unbroken = abs(ended - before.attempted) <= timing.mirror_away
    after = replace(before, since=before.since if unbroken else asked, attempted=ended)
    if word is None:
        return after
    offset = word.time - (asked + ended) / 2
    return replace(after, answered=asked, fsid=word.fsid, offset=offset, mirrors=word.mirrors)


def lag(mirror: Mirror, watch: PeerWatch | None, now: float) -> float | None:
    """Seconds for which the secondary side lacks what was written; None while it has nothing yet. ``now`` is by this
    side's clock; the moment of a snapshot is known by the clock of the primary."""
    if not mirror.shared:
        return None
    ahead = watch.offset if watch is not None and mirror.role is MirrorRole.SECONDARY else 0.0
    return max(0.0, now + ahead - mirror.shared_created)
