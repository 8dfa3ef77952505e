"""Who is primary. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.model.node import NodeRole, Primary
from pvc_core.model.snapshot import ClusterSnapshot


@dataclass(frozen=True, slots=True)
class Claim:
    """Become primary in place of ``old``, provided that it is still what the record says."""

    old: Primary | None
    new: Primary
    why: str


def decide(snapshot: ClusterSnapshot, self_name: str) -> Claim | None:
    """The claim this node should make now, if any.

    While no living node is primary, the first living coordinator in the order of names claims. Two nodes with different
    pictures may both claim; the record's version lets one of them have it.
    """
    old = snapshot.primary
    if old is not None and (holder := snapshot.nodes.get(old.node)) is not None and holder.runs:
        return None
    living = [
        name for name, entry in sorted(snapshot.nodes.items()) if entry.runs and entry.node.role is NodeRole.COORDINATOR
    ]
    if living[:1] != [self_name]:
        return None
    if old is None:
        return Claim(None, Primary(self_name, 1), "the cluster has no primary")
    return Claim(old, Primary(self_name, old.epoch + 1), f"{old.node} does not run")
