"""Mirrors as the API shows them."""

from __future__ import annotations

import time
from typing import Annotated

from msgspec import Meta

from pvc_core.model.mirror import MirrorRole
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.rules.lineage import hindrance, lag
from pvc_web.api.schema import Document
from pvc_web.config import cluster


class MirrorDocument(Document):
    """A machine's tie to another cluster, as this side sees it."""

    peer: Annotated[str, Meta(description="The other cluster; empty where it has no name here")]
    role: Annotated[MirrorRole, Meta(description="Of this side")]
    epoch: Annotated[int, Meta(description="How often the leading side has changed, counting from 1")]
    forced: Annotated[bool, Meta(description="Whether the last change was made without the other side")]
    snapshot: Annotated[str, Meta(description="The newest one that both sides have; empty before the first")]
    lag_seconds: Annotated[float | None, Meta(description="Age of that snapshot; null before the first")]
    lag_bytes: Annotated[int | None, Meta(description="Written since, as last counted; known to the leading side")]
    goal: Annotated[float, Meta(description="Seconds of lag after which a fault is raised; 0 for none")]
    answered: Annotated[float | None, Meta(description="Seconds since the other cluster answered; null for never")]
    hindrance: Annotated[str, Meta(description="Why it would not be started here now; empty where it would")]


def mirror_document(snapshot: ClusterSnapshot, uuid: str) -> MirrorDocument | None:
    """None for a machine without a mirror."""
    mirror = snapshot.mirrors.get(uuid)
    if mirror is None:
        return None
    now, watch = time.time(), snapshot.peers.get(mirror.peer)
    unsent = snapshot.storage.unsent if snapshot.storage is not None else {}
    return MirrorDocument(
        peer=mirror.peer,
        role=mirror.role,
        epoch=mirror.lineage.epoch,
        forced=mirror.lineage.promotions[-1].forced,
        snapshot=mirror.shared,
        lag_seconds=lag(mirror, watch, now),
        lag_bytes=unsent.get(uuid),
        goal=mirror.goal,
        answered=max(0.0, now - watch.answered) if watch is not None and watch.answered else None,
        hindrance=hindrance(snapshot, uuid, now, cluster.config().timing),
    )
