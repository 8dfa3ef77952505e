"""Whether the cluster could lose any one of its nodes (N-1). Pure."""

from __future__ import annotations

from collections import defaultdict

from pvc_core.model.capacity import Shortfall
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import VmState
from pvc_core.rules.placement import Room, place
from pvc_core.rules.recovery import assign


def survives(snapshot: ClusterSnapshot) -> tuple[Shortfall, ...]:
    """What would have no place if a node died now, for each node of which that is so. The snapshot must hold the
    statistics of the nodes. A machine that may run on one node only is not counted: it is short of nothing but nodes.

    All losses are tried in one room, which is put back after each: to count the cluster anew takes longer than that.
    """
    wanted: dict[str, list[VmEntry]] = defaultdict(list)
    for entry in snapshot.vms.values():
        node = place(entry)
        if entry.vm.state is VmState.START and entry.vm.meta.node_limit != (node,):
            wanted[node].append(entry)
    room = Room(snapshot)
    found = []
    for node, machines in wanted.items():
        if node in snapshot.nodes and snapshot.nodes[node].runs:
            homeless = _without(room, node, machines)
            if homeless:
                found.append(Shortfall(node, homeless))
    return tuple(sorted(found, key=lambda shortfall: shortfall.node))


def _without(room: Room, node: str, machines: list[VmEntry]) -> tuple[str, ...]:
    """The names of those of a node's machines that no other node could take."""
    by_uuid = {entry.vm.uuid: entry.vm for entry in machines}
    placements = assign(room, machines, {node})
    for placement in placements:
        if placement.node:
            room.take(by_uuid[placement.uuid], placement.node)
    return tuple(sorted(by_uuid[placement.uuid].name for placement in placements if not placement.node))
