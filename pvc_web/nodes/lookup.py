"""Which node a path names."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.errors import NotFound
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry


def find_node(name: str) -> Callable[[ClusterSnapshot], NodeEntry]:
    """A look for ``pvc_web.api.lookup.find``."""

    def look(snapshot: ClusterSnapshot) -> NodeEntry:
        entry = snapshot.nodes.get(name)
        if entry is None:
            raise NotFound(f"there is no node {name!r}")
        return entry

    return look
