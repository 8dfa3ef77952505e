"""Which node takes a machine. Pure.

See docs/design/placement.md for what counts, in which order, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.node import DomainState, NodeStats
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, ShownState, VmEntry
from pvc_core.model.vm import Selector, Vm, VmState

READY = frozenset({DomainState.READY})


@dataclass(slots=True)
class _Tally:
    """What one node has left, and who is there; memory in MiB."""

    name: str
    free: int  # less what was promised to machines that are to run there and do not yet
    total: int
    load: float  # with a promised vCPU counted as busy: none of the machines placed together shows in the load yet
    provisioned: int = 0
    vcpus: int = 0  # of the machines that are to run
    machines: int = 0  # that are to run
    tags: dict[str, int] = field(default_factory=dict)  # how many machines have a tag
    drawn: dict[str, int] = field(default_factory=dict)  # how many want to be with machines of a tag
    averse: dict[str, int] = field(default_factory=dict)  # how many want to be without


# Each answers a number of which the smallest is the best.
_RANKS: dict[Selector, Callable[[_Tally], float]] = {
    Selector.MEM: lambda node: -node.free,
    Selector.MEMPROV: lambda node: node.provisioned - node.total,
    Selector.VCPUS: lambda node: node.vcpus,
    Selector.LOAD: lambda node: node.load,
    Selector.VMS: lambda node: node.machines,
}
_RANKS[Selector.NONE] = _RANKS[Selector.MEM]


class Room:
    """The nodes with what is left of each, kept up to date while machines are placed one after the other."""

    def __init__(self, snapshot: ClusterSnapshot, leaving: Collection[str] = frozenset()) -> None:
        """``leaving`` are the uuids of machines that count nowhere, since a place is looked for them."""
        self._nodes = snapshot.nodes
        self._tallies = {name: _tally(name, entry.stats) for name, entry in snapshot.nodes.items() if entry.stats}
        self._open = [tally for name, tally in self._tallies.items() if not _closed(snapshot.nodes[name], READY)]
        self._ruled: set[str] = set()  # tags for which any machine has a rule
        for uuid, entry in snapshot.vms.items():
            meta = entry.vm.meta
            self._ruled.update(meta.affinity, meta.anti_affinity)
            tally = self._tallies.get(place(entry))
            if tally is not None and uuid not in leaving:
                _count(tally, entry.vm, 1)
                if _promised(entry, snapshot.nodes[tally.name]):
                    _promise(tally, entry.vm, 1)

    def put(self, vm: Vm, node: str) -> None:
        """Count a machine on a node, its memory as promised if it is to run."""
        tally = self._tallies[node]
        _count(tally, vm, 1)
        _promise(tally, vm, 1)

    def take(self, vm: Vm, node: str) -> None:
        """The opposite."""
        tally = self._tallies[node]
        _count(tally, vm, -1)
        _promise(tally, vm, -1)

    def choose(self, vm: Vm, memory: int, exclude: Collection[str] = frozenset()) -> str:
        """The best node for a machine that needs ``memory`` MiB there now; those in ``exclude`` are passed over. Raises
        Conflict that says of each other node why it is out."""
        limit, size, rank = vm.meta.node_limit, vm.size.memory, _RANKS[vm.meta.node_selector]
        tags = [tag.name for tag in vm.tags if tag.name in self._ruled]
        plain = not (tags or vm.meta.affinity or vm.meta.anti_affinity)
        best = min(
            (
                (0 if plain else _broken(node, vm, tags), rank(node), node.name)
                for node in self._open
                if (not memory or memory <= node.free)
                and size <= node.total
                and (not limit or node.name in limit)
                and node.name not in exclude
            ),
            default=None,
        )
        if best is None:
            raise Conflict(f"no node can take the machine: {self._refusal(vm, memory, exclude)}")
        return best[-1]

    def unfit(self, name: str, vm: Vm, memory: int, accepted: Collection[DomainState] = READY) -> str:
        """Why a node cannot take a machine, as it follows "it is"; empty when it can."""
        obstacle, tally = self._obstacle(name, vm, accepted), self._tallies.get(name)
        if obstacle or tally is None or not memory or memory <= tally.free:
            return obstacle
        return f"short of memory ({tally.free} MiB free and not promised, {memory} MiB needed)"

    def _obstacle(self, name: str, vm: Vm, accepted: Collection[DomainState]) -> str:
        """What other than the memory that is free now keeps a machine from a node."""
        limit, size = vm.meta.node_limit, vm.size.memory
        if limit and name not in limit:
            return f"not in the machine's node limit ({', '.join(limit)})"
        closed = _closed(self._nodes[name], accepted)
        if closed:
            return closed
        tally = self._tallies[name]
        if tally.total < size:
            return f"too small ({tally.total} MiB in all, {size} MiB needed)"
        return ""

    def _refusal(self, vm: Vm, memory: int, exclude: Collection[str]) -> str:
        """Without how much is free, so that it stays the same while the reason does: machines wait with it."""
        reasons: dict[str, list[str]] = {}
        for name in self._nodes:
            if name not in exclude:
                why = self._obstacle(name, vm, READY) or f"short of memory ({memory} MiB needed)"
                reasons.setdefault(why, []).append(name)
        said = [f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {why}" for why, names in reasons.items()]
        return "; ".join(said) or "there are no other nodes"


def choose_node(snapshot: ClusterSnapshot, vm: Vm, memory: int, exclude: Collection[str] = frozenset()) -> str:
    """The node that takes a machine which needs ``memory`` MiB there now; those in ``exclude`` are passed over.

    Raises Conflict that says of each node why it is out.
    """
    return Room(snapshot, {vm.uuid}).choose(vm, memory, exclude)


def check_node(
    snapshot: ClusterSnapshot, name: str, vm: Vm, memory: int, accepted: Collection[DomainState] = READY
) -> None:
    """Raise NotFound when there is no such node, Conflict when it cannot take the machine."""
    if name not in snapshot.nodes:
        raise NotFound(f"there is no node {name!r}; there are {', '.join(snapshot.nodes) or 'none'}")
    reason = Room(snapshot, {vm.uuid}).unfit(name, vm, memory, accepted)
    if reason:
        raise Conflict(f"node {name} cannot take the machine: it is {reason}")


def needed(entry: VmEntry) -> int:
    """MiB that a machine needs at once on another node: none if it stays off."""
    return entry.vm.size.memory if entry.holder or entry.vm.state is VmState.START else 0


def place(entry: VmEntry) -> str:
    """The node on which a machine is, or will be when its move is over."""
    return entry.vm.node if entry.vm.migration is None else entry.vm.migration.target


def precedence(entry: VmEntry) -> tuple[int, int, str]:
    """Sorts machines in the order in which they get their places: the large ones while there is room for them."""
    return -entry.vm.meta.priority, -entry.vm.size.memory, entry.vm.name


def _tally(name: str, stats: NodeStats) -> _Tally:
    return _Tally(name, stats.memory.free, stats.memory.total, stats.load)


def _closed(entry: NodeEntry, accepted: Collection[DomainState]) -> str:
    """Why a node takes no machine at all."""
    if not entry.runs:
        return f"not running ({entry.daemon_state})"
    if entry.fence is not None:
        return "fenced and not let in again yet"
    if entry.node.domain_state not in accepted:
        return f"not ready ({entry.node.domain_state})"
    return "new and has not reported its memory yet" if entry.stats is None else ""


def _promised(entry: VmEntry, node: NodeEntry) -> bool:
    """Whether a machine will take memory of its node that the node's report does not show as taken."""
    if entry.shown_state is ShownState.FAIL:
        return False  # nobody starts it
    return node.stats is not None and entry.vm.uuid not in node.stats.domains


def _count(tally: _Tally, vm: Vm, sign: int) -> None:
    tally.provisioned += sign * vm.size.memory
    if _wanted(vm):
        tally.vcpus += sign * vm.size.vcpus
        tally.machines += sign
    _add(tally.tags, (tag.name for tag in vm.tags), sign)
    _add(tally.drawn, vm.meta.affinity, sign)
    _add(tally.averse, vm.meta.anti_affinity, sign)


def _wanted(vm: Vm) -> bool:
    """Whether it is to run; one that moves by being shut down is, too."""
    return vm.state is VmState.START or vm.migration is not None


def _add(counts: dict[str, int], names: Iterable[str], sign: int) -> None:
    for name in names:
        counts[name] = counts.get(name, 0) + sign


def _promise(tally: _Tally, vm: Vm, sign: int) -> None:
    if _wanted(vm):
        tally.free -= sign * vm.size.memory
        tally.load += sign * vm.size.vcpus


def _broken(node: _Tally, vm: Vm, tags: Collection[str]) -> int:
    """How many rules would be broken by the machine on that node, less those that would be kept only there. ``tags``
    are its own for which there are rules."""
    broken = 0
    for tag in vm.meta.affinity:
        broken += not node.tags.get(tag)
    for tag in vm.meta.anti_affinity:
        broken += node.tags.get(tag, 0)
    for tag in tags:
        broken += node.averse.get(tag, 0)
        if not node.tags.get(tag):
            broken -= node.drawn.get(tag, 0)
    return broken
