"""How well a node and the cluster are, in per cent with the reasons. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pvc_core.model.fault import Fault, FaultStatus, Finding
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.rules import faults

NODE_EMPTIED = 10


@dataclass(frozen=True, slots=True)
class Health:
    """Per cent, and one sentence for each thing that is wrong."""

    health: int
    messages: tuple[str, ...] = ()


def node_health(snapshot: ClusterSnapshot, name: str) -> Health:
    """100 less what the node's plugins find and its other faults; 0 for a node whose daemon does not run."""
    entry = snapshot.nodes[name]
    if not entry.runs:
        return Health(0, (f"the node's daemon does not run ({entry.daemon_state})",))
    standing = [fault for fault in snapshot.faults.values() if fault.node == name]
    found = _counting(snapshot, faults.plugins(entry), standing)
    messages = (cause.message.removeprefix(f"{name}: ").removeprefix("plugin ") for cause in found)
    return Health(_left(found), tuple(messages))


def cluster_health(snapshot: ClusterSnapshot) -> Health:
    """100 less the delta of each thing that is wrong anywhere and not acknowledged, not below 0."""
    found = _emptied(snapshot) + _counting(snapshot, faults.conditions(snapshot), snapshot.faults.values())
    return Health(_left(found), tuple(cause.message for cause in found))


def _counting(
    snapshot: ClusterSnapshot, findings: Iterable[Finding], standing: Iterable[Fault]
) -> list[Finding | Fault]:
    """What is found wrong now and was not acknowledged, and the faults beside it: a finding and its fault are one."""
    live = {finding.id: finding for finding in findings}
    found: list[Finding | Fault] = [
        finding for key, finding in live.items() if not _acknowledged(snapshot.faults.get(key), finding)
    ]
    return found + [fault for fault in standing if fault.counts and fault.id not in live]


def _acknowledged(fault: Fault | None, finding: Finding) -> bool:
    return fault is not None and fault.status is FaultStatus.ACK and finding.health_delta <= fault.health_delta


def _emptied(snapshot: ClusterSnapshot) -> list[Finding | Fault]:
    """Nodes that take no machines: somebody has asked for that, so it is no fault."""
    return [
        Finding(f"emptied:{name}", name, NODE_EMPTIED, f"{name}: takes no machines ({entry.node.domain_state})")
        for name, entry in snapshot.nodes.items()
        if entry.runs and entry.node.domain_state is not DomainState.READY
    ]


def _left(found: Iterable[Finding | Fault]) -> int:
    return max(0, 100 - sum(cause.health_delta for cause in found))
