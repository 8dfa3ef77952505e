"""Where machines go that have lost their node. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pvc_core.errors import Conflict
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import RunState, VmState
from pvc_core.rules.placement import Room, needed, precedence


@dataclass(frozen=True, slots=True)
class Placement:
    """A machine and the node that takes it; "" and the reason where there is none."""

    uuid: str
    node: str
    reason: str = ""


def plan(
    snapshot: ClusterSnapshot, machines: Sequence[VmEntry], exclude: Collection[str] = frozenset()
) -> list[Placement]:
    """A place for each machine, in the order of their precedence, each counted before the next one is placed. Nodes in
    ``exclude`` are passed over. The snapshot must hold the statistics of the nodes: one without takes nothing."""
    return assign(Room(snapshot, {entry.vm.uuid for entry in machines}), machines, exclude)


def assign(room: Room, machines: Iterable[VmEntry], exclude: Collection[str] = frozenset()) -> list[Placement]:
    """The same in a room that is there already, which then counts them."""
    placements = []
    for entry in sorted(machines, key=precedence):
        try:
            node = room.choose(entry.vm, needed(entry), exclude)
        except Conflict as error:
            placements.append(Placement(entry.vm.uuid, "", error.message))
            continue
        room.put(entry.vm, node)
        placements.append(Placement(entry.vm.uuid, node))
    return placements


def waiting(snapshot: ClusterSnapshot) -> list[VmEntry]:
    """The machines that should run and for which no node had room. One that was asked for anew meanwhile is its own
    node's to start, if that runs."""
    return [entry for entry in snapshot.vms.values() if _waits(entry) and not _is_taken_on(snapshot, entry)]


def _waits(entry: VmEntry) -> bool:
    return entry.vm.state is VmState.START and entry.status is not None and entry.status.run is RunState.WAITING


def _is_taken_on(snapshot: ClusterSnapshot, entry: VmEntry) -> bool:
    node = snapshot.nodes.get(entry.vm.node)
    anew = entry.status is not None and entry.status.generation != entry.vm.generation
    return anew and node is not None and node.runs and node.fence is None
