"""Who is primary. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.model.node import DaemonState, DomainState, NodeRole, Primary
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry


@dataclass(frozen=True, slots=True)
class Claim:
    """Become primary in place of ``old``, provided that it is still what the record says."""

    old: Primary | None
    new: Primary
    why: str


def decide(snapshot: ClusterSnapshot, self_name: str) -> Claim | None:
    """The claim this node should make now, if any.

    The primary stays it for as long as its sign of life says that it runs or starts, so a daemon that is killed and
    started again at once keeps the role. Two nodes with different pictures may both claim; the record's version lets
    one of them have it.
    """
    old = snapshot.primary
    if old is not None and old.node in snapshot.nodes and keeps(snapshot.nodes[old.node]):
        return None
    if candidates(snapshot)[:1] != [self_name]:
        return None
    if old is None:
        return Claim(None, Primary(self_name, 1), "the cluster has no primary")
    return Claim(old, Primary(self_name, old.epoch + 1), f"{old.node} does not run")


def candidates(snapshot: ClusterSnapshot) -> list[str]:
    """The nodes that may become primary, the first choice first: in the order of names, but those that are being
    emptied after the others, and those with a fence last of all. Were these left out, nobody could end the fences of
    coordinators that have all come back from one."""
    return sorted(
        (name for name, entry in snapshot.nodes.items() if entry.runs and entry.node.role is NodeRole.COORDINATOR),
        key=lambda name: (_fenced(snapshot.nodes[name]), _emptied(snapshot.nodes[name]), name),
    )


def keeps(entry: NodeEntry) -> bool:
    """Whether a node that is primary stays it."""
    return entry.node.role is NodeRole.COORDINATOR and entry.daemon_state in (DaemonState.INIT, DaemonState.RUN)


def _fenced(entry: NodeEntry) -> bool:
    return entry.fence is not None


def _emptied(entry: NodeEntry) -> bool:
    return entry.node.domain_state is not DomainState.READY
