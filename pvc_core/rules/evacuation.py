"""Which machines leave a node that is emptied, where they go, and which come back. Pure."""

from __future__ import annotations

from collections.abc import Collection

from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.rules.placement import Room, needed, precedence
from pvc_core.rules.recovery import Placement, plan


def machines(snapshot: ClusterSnapshot, node: str) -> list[VmEntry]:
    """All that is on a node, whether it runs or not, in the order of precedence."""
    found = [entry for entry in snapshot.vms.values() if node in (entry.vm.node, entry.holder)]
    return sorted(found, key=precedence)


def leave(snapshot: ClusterSnapshot, node: str, stay: Collection[str]) -> list[Placement]:
    """A place elsewhere for each machine of a node but those in ``stay`` (uuids)."""
    going = [entry for entry in machines(snapshot, node) if entry.vm.uuid not in stay]
    return plan(snapshot, going, {node})


def is_spoilt(snapshot: ClusterSnapshot, placement: Placement) -> bool:
    """Whether the node that was to take a machine cannot any more, so that another place is worth a try."""
    entry = snapshot.vms.get(placement.uuid)
    if entry is None:
        return False
    room = Room(snapshot, {placement.uuid})
    return placement.node not in snapshot.nodes or bool(room.unfit(placement.node, entry.vm, needed(entry)))


def returning(snapshot: ClusterSnapshot, node: str) -> list[VmEntry]:
    """The machines that have left a node for a while, in the order of precedence."""
    return sorted((entry for entry in snapshot.vms.values() if entry.vm.last_node == node), key=precedence)
