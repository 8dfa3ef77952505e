"""Which machine a path names."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.errors import NotFound
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry


def find_vm(name_or_uuid: str) -> Callable[[ClusterSnapshot], VmEntry]:
    """A look for ``pvc_web.api.lookup.find``."""

    def look(snapshot: ClusterSnapshot) -> VmEntry:
        entry = snapshot.find_vm(name_or_uuid)
        if entry is None:
            raise NotFound(f"there is no VM {name_or_uuid!r}")
        return entry

    return look
