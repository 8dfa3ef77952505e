"""Finding what a path names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pvc_core.errors import NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_web.config import cluster

T = TypeVar("T")


def find(look: Callable[[ClusterSnapshot], T]) -> tuple[ClusterSnapshot, T]:
    """What ``look`` finds in the cluster, with the snapshot in which it was found.

    Each process of the server follows the cluster on its own, so what another one has just created may be some
    milliseconds away here. Before NotFound is answered, this process catches up and looks again.
    """
    view = cluster.view()
    snapshot = view.snapshot()
    try:
        return snapshot, look(snapshot)
    except NotFound:
        view.settle()
        snapshot = view.snapshot()
        return snapshot, look(snapshot)
