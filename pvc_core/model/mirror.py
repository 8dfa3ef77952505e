"""Copies of machines between two clusters: which side leads, how far the other is behind, who was superseded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the side that leads. ``base`` is the snapshot from which the new side went on."""

    epoch: int
    cluster: str  # the new side's fsid
    base: str
    forced: bool
    time: float  # seconds since the epoch, by the new side's clock


@dataclass(frozen=True, slots=True)
class Lineage:
    """The promotions of one machine, oldest first. Both sides keep it; the longer one contains the shorter one, unless
    both sides were promoted on their own."""

    promotions: tuple[Promotion, ...]

    @property
    def epoch(self) -> int:
        return self.promotions[-1].epoch

    @property
    def leader(self) -> str:
        """The fsid of the cluster where the machine runs."""
        return self.promotions[-1].cluster


class MirrorRole(StrEnum):
    PRIMARY = "primary"  # the machine runs here
    SECONDARY = "secondary"  # it is received here, and does not run
    HANDING = "handing"  # was primary, is stopped, and has asked the other side to take over: see ``Mirror.lineage``
    SUPERSEDED = "superseded"  # was primary, and the other side was promoted meanwhile: waits for ``resync``


@dataclass(frozen=True, slots=True)
class Mirror:
    """One machine's tie to one other cluster."""

    vm: str  # uuid
    peer: str  # name of the other cluster
    role: MirrorRole
    lineage: Lineage
    pool: str = ""  # of the copies at the other side; empty: the pools of the originals
    shared: str = ""  # the newest snapshot that both sides have
    shared_created: float = 0.0  # of that one, by the primary's clock
    goal: float = 0.0  # seconds of lag after which a fault is raised; 0: none
    starts: bool = False  # HANDING: it ran here, and the other side is to start it


@dataclass(frozen=True, slots=True)
class Word:
    """What one cluster tells another of itself and of its mirrors."""

    fsid: str
    time: float  # seconds since the epoch, by its clock
    mirrors: Mapping[str, Mirror]  # by the machine's uuid


@dataclass(frozen=True, slots=True)
class PeerWatch:
    """What one cluster last heard of another, written every few seconds: so that a site that was away knows that it
    was, and asks before it starts a machine which the other side may run. Times are this side's, seconds since the
    epoch."""

    peer: str
    since: float = 0.0  # when the present row of tries began, none of which came long after the one before
    attempted: float = 0.0  # the last try
    answered: float = 0.0  # when the last question was asked that was answered
    fsid: str = ""  # of the other cluster
    offset: float = 0.0  # seconds by which its clock is ahead of ours
    mirrors: Mapping[str, Mirror] = field(default_factory=dict)  # the other side's own records, by uuid


@dataclass(frozen=True, slots=True)
class Transfer:
    """A snapshot that is being received. There is at most one for each machine."""

    id: str
    vm: str  # uuid
    snapshot: str
    parent: str
    source: str  # fsid of the sender
    volumes: Mapping[str, str]  # pool/name at the sender -> pool/name here
    begun: float
    offer: str  # the sender's whole offer as JSON, for the commit
