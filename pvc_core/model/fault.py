"""Faults: what went wrong and wants an administrator's eye, kept until it is over and was seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class FaultStatus(StrEnum):
    NEW = "new"
    ACK = "ack"  # an administrator has seen it: it lowers nobody's health any more


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now or, as an event, has happened just now. ``health_delta`` is in per cent."""

    name: str  # the cause, as kind and subject: ``fence-failed:node3``
    node: str  # the node whose health it lowers; empty: the cluster's alone
    health_delta: int
    message: str
    event: bool = False
    patience: float = 0.0  # seconds for which it has to last until it is a fault, where that is longer than for others

    @property
    def id(self) -> str:
        """Of its fault: made from the name, so that the same cause is the same fault."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Fault:
    """The record of a finding. An event stands until it is acknowledged or deleted; others are over when their cause
    is, and are then kept for who has not seen them yet."""

    id: str
    name: str
    node: str
    health_delta: int
    message: str
    first_reported: float  # seconds since the epoch
    last_reported: float
    event: bool = False
    status: FaultStatus = FaultStatus.NEW
    acknowledged_at: float = 0.0  # the same; 0: not acknowledged
    over: bool = False  # its cause is gone

    @property
    def counts(self) -> bool:
        """Whether it lowers the health."""
        return self.status is FaultStatus.NEW and not self.over


def raised(finding: Finding, first: float, last: float) -> Fault:
    """The new fault of a finding that was seen between these times."""
    return Fault(
        finding.id,
        finding.name,
        finding.node,
        finding.health_delta,
        finding.message,
        first_reported=first,
        last_reported=last,
        event=finding.event,
    )
