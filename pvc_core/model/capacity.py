"""Whether the cluster could lose a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What would have no place if one node died: the names of its machines, sorted."""

    node: str
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Capacity:
    """Kept by the primary. No shortfalls: the cluster survives the loss of any one node."""

    shortfalls: tuple[Shortfall, ...] = ()
