"""Which node takes a machine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.domain import DomainSpec, parse
from pvc_core.model.node import DomainState, NodeStats
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import Selector, VmMeta, VmState

READY = frozenset({DomainState.READY})


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    stats: NodeStats
    snapshot: ClusterSnapshot

    def machines(self) -> Iterable[VmEntry]:
        return (entry for entry in self.snapshot.vms.values() if entry.vm.node == self.name)

    def specs(self, *, wanted_only: bool) -> Iterable[DomainSpec]:
        """What the machines of this node are made of; those whose XML the snapshot does not hold are left out."""
        for entry in self.machines():
            xml = self.snapshot.xmls.get(entry.vm.uuid)
            if xml is not None and (entry.vm.state is VmState.START or not wanted_only):
                yield parse(xml)


# Each answers a number of which the smallest is the best.
_RANKS: dict[Selector, Callable[[_Candidate], float]] = {
    Selector.MEM: lambda node: -node.stats.memory.free,
    Selector.MEMPROV: lambda node: sum(spec.memory for spec in node.specs(wanted_only=False)) - node.stats.memory.total,
    Selector.VCPUS: lambda node: sum(spec.vcpu for spec in node.specs(wanted_only=True)),
    Selector.LOAD: lambda node: node.stats.load,
    Selector.VMS: lambda node: sum(entry.vm.state is VmState.START for entry in node.machines()),
}
_RANKS[Selector.NONE] = _RANKS[Selector.MEM]


def choose_node(
    snapshot: ClusterSnapshot, meta: VmMeta, memory_mib: int, exclude: Collection[str] = frozenset()
) -> str:
    """The node that takes a machine, by its selector and its limit; nodes in ``exclude`` are passed over.

    Raises Conflict that says of each node why it is out.
    """
    reasons, candidates = [], []
    for name, entry in snapshot.nodes.items():
        reason = "excluded" if name in exclude else unfit(snapshot, name, meta, memory_mib)
        if reason or entry.stats is None:
            reasons.append(f"{name} is {reason}")
        else:
            candidates.append(_Candidate(name, entry.stats, snapshot))
    if not candidates:
        raise Conflict(f"no node can take the machine: {', '.join(reasons) or 'there are no nodes'}")
    rank = _RANKS[meta.node_selector]
    return min(candidates, key=lambda node: (rank(node), node.name)).name


def check_node(
    snapshot: ClusterSnapshot,
    name: str,
    meta: VmMeta,
    memory_mib: int,
    accepted: Collection[DomainState] = READY,
) -> None:
    """Raise NotFound when there is no such node, Conflict when it cannot take the machine."""
    if name not in snapshot.nodes:
        raise NotFound(f"there is no node {name!r}; there are {', '.join(snapshot.nodes) or 'none'}")
    reason = unfit(snapshot, name, meta, memory_mib, accepted)
    if reason:
        raise Conflict(f"node {name} cannot take the machine: it is {reason}")


def unfit(
    snapshot: ClusterSnapshot,
    name: str,
    meta: VmMeta,
    memory_mib: int,
    accepted: Collection[DomainState] = READY,
) -> str:
    """Why a node cannot take a machine, as it follows "it is"; empty when it can. ``memory_mib`` of 0 asks for none."""
    entry = snapshot.nodes[name]
    if meta.node_limit and name not in meta.node_limit:
        return f"not in the machine's node limit ({', '.join(meta.node_limit)})"
    if not entry.runs:
        return f"not running ({entry.daemon_state})"
    if entry.node.domain_state not in accepted:
        return f"not ready ({entry.node.domain_state})"
    if entry.stats is None:
        return "new and has not reported its memory yet"
    if entry.stats.memory.free < memory_mib:
        return f"short of memory ({entry.stats.memory.free} MiB free, {memory_mib} MiB needed)"
    return ""
