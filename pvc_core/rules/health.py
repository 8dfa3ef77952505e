"""How well a node and the cluster are, in per cent with the reasons. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, ShownState

NODE_DOWN = 50
NODE_EMPTIED = 10
VM_FAILED = 10
OSD_DOWN = 10
OSD_OUT = 50
STORAGE = {"HEALTH_WARN": 10, "HEALTH_ERR": 50}


@dataclass(frozen=True, slots=True)
class Health:
    """Per cent, and one sentence for each thing that is wrong."""

    health: int
    messages: tuple[str, ...] = ()


def node_health(entry: NodeEntry) -> Health:
    """The plugins' deltas subtracted from 100; 0 for a node whose daemon does not run."""
    if not entry.runs:
        return Health(0, (f"the node's daemon does not run ({entry.daemon_state})",))
    if entry.stats is None:
        return Health(100)
    bad = [plugin for plugin in entry.stats.plugins if plugin.health_delta > 0]
    return Health(entry.stats.health, tuple(f"'{plugin.name}': {plugin.message}" for plugin in bad))


def cluster_health(snapshot: ClusterSnapshot) -> Health:
    """100 less the delta of each thing that is wrong anywhere, not below 0."""
    findings = _nodes(snapshot) + _machines(snapshot) + _storage(snapshot)
    total = sum(delta for delta, _ in findings)
    return Health(max(0, 100 - total), tuple(message for _, message in findings))


def _nodes(snapshot: ClusterSnapshot) -> list[tuple[int, str]]:
    found = []
    for name, entry in snapshot.nodes.items():
        if entry.daemon_state is not DaemonState.RUN:
            found.append((NODE_DOWN, f"{name}: the node's daemon does not run ({entry.daemon_state})"))
            continue
        if entry.node.domain_state is not DomainState.READY:
            found.append((NODE_EMPTIED, f"{name}: takes no machines ({entry.node.domain_state})"))
        for plugin in entry.stats.plugins if entry.stats is not None else ():
            if plugin.health_delta > 0:
                found.append((plugin.health_delta, f"{name}: plugin '{plugin.name}': {plugin.message}"))
    return found


def _machines(snapshot: ClusterSnapshot) -> list[tuple[int, str]]:
    return [
        (VM_FAILED, f"VM {entry.vm.name}: {entry.status.reason if entry.status is not None else 'failed'}")
        for entry in snapshot.vms.values()
        if entry.shown_state is ShownState.FAIL
    ]


def _storage(snapshot: ClusterSnapshot) -> list[tuple[int, str]]:
    status = snapshot.storage
    if status is None:
        return []
    found = []
    for state, count in sorted(status.osd_states.items()):
        up, _, is_in = state.partition(",")
        if up != "up":
            found.append((OSD_DOWN * count, f"storage: {count} OSD {up}"))
        if is_in != "in":
            found.append((OSD_OUT * count, f"storage: {count} OSD {is_in}"))
    delta = STORAGE.get(status.health, 0)
    if delta:
        found.append((delta, f"storage: {status.health}: {'; '.join(status.health_messages) or 'no details'}"))
    return found
