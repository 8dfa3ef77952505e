"""Fences: how the cluster makes sure that a dead node's machines can write no more, before it starts them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FenceStep(StrEnum):
    """How far a fence has come. The record is written at each step, so that another node can go on with it."""

    FENCING = "fencing"  # not confirmed yet: the node may still run its machines
    FAILED = "failed"  # no method could confirm it; the methods are tried again, and its machines stay down
    RECOVERING = "recovering"  # confirmed: its machines are given to other nodes
    FENCED = "fenced"  # each of its machines has another node or waits for one; the node has not come back
    RETURNED = "returned"  # the node is back, runs none of its former machines, and has let itself in again


CONFIRMED = frozenset({FenceStep.RECOVERING, FenceStep.FENCED, FenceStep.RETURNED})


class Method(StrEnum):
    """What can prove that a node's machines write no more."""

    STORAGE = "storage"  # Ceph refuses everything that comes from the node's addresses
    POWER = "power"  # its BMC says that its power is off
    HAND = "hand"  # an administrator has looked and said so


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one method. ``message`` is what the last try said that failed."""

    confirmed: bool = False
    acted: bool = False  # it changed something: a power that was found off was not switched by this fence
    message: str = ""


@dataclass(frozen=True, slots=True)
class Fence:
    """One fence of one node, as it was when it was last alive."""

    node: str
    boot_id: str  # of the boot that is fenced; empty when the node never showed one
    addresses: tuple[str, ...]  # from which its processes reach the storage, without prefix length
    step: FenceStep
    began: float  # seconds since the epoch
    since: float  # the same, of the present step
    why: str
    power: Attempt = Attempt()
    storage: Attempt = Attempt()
    confirmed_by: Method | None = None
    power_restored: bool = False  # it was switched on again

    @property
    def confirmed(self) -> bool:
        """Whether nothing of the fenced boot can write any more. There is no way back from here."""
        return self.step in CONFIRMED
