"""The floating addresses: this node has them exactly while it is primary, and can prove it."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, replace

from pvc_core.config import Config
from pvc_core.errors import DriverError, PvcError, Stale, Unavailable
from pvc_core.model.node import Primary
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ports import Clock, NetworkPlane, Session
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_node.leadership import Leadership
from pvc_node.presence import Presence
from pvc_node.trouble import Trouble

log = logging.getLogger(__name__)

SETTLE = 5.0
SLACK = 2.0  # seconds by which the kernel may be late: a lifetime is whole seconds, and its end is seen within one
QUIET = 30.0  # seconds between two announcements, and between two looks on a node that is not primary


class Floating:
    """``cycle`` is called by one thread, after every change of the view and at least every ``interval`` seconds.

    At each interval the servers are asked whether this node is primary. When they say so, they have heard of it within
    the interval before, and will not end its session, without which no other node becomes primary, until a session's
    timeout after that. The kernel gets each address for less than that, and takes it back when it is not told
    otherwise: in time when the connection is lost, and also when this daemon hangs, is paused or is killed.
    """

    def __init__(
        self,
        config: Config,
        state: ClusterState,
        leadership: Leadership,
        presence: Presence,
        network: NetworkPlane,
        clock: Clock,
    ) -> None:
        own = asdict(config.node.addresses)
        self._beside = {cidr: own[name] for name, cidr in asdict(config.floating_addresses).items() if cidr}
        self._state = state
        self._leadership = leadership
        self._presence = presence
        self._network = network
        self._clock = clock
        self.interval = config.zookeeper.session_timeout / 6
        self._lease = config.zookeeper.session_timeout - self.interval - SLACK
        self._until = 0.0  # monotonic, until when no other node can be primary
        self._has: set[str] = set()
        self._seen: Primary | None = None  # what the last look was about
        self._due = 0.0  # of the next look, though nothing has changed
        self._announce_due = 0.0
        self._pause = 0.0  # after the next announcement
        self._trouble = Trouble("floating addresses")
        state.store.on_session(self._on_session)

    @property
    def trouble(self) -> str:
        return self._trouble.message

    def cycle(self, snapshot: ClusterSnapshot) -> None:
        """Take the addresses, keep them or give them up."""
        now = self._clock.monotonic()
        primary = snapshot.primary
        if primary == self._seen and now < self._due:
            return
        self._seen, self._due = primary, now + self.interval
        try:
            if primary is not None and self._leadership.is_primary(snapshot):
                self._lead(primary)
            else:
                self.give_up("another node is primary")
                self._due = now + QUIET
            self._trouble.end()
        except PvcError as error:
            self._trouble.begin(error)

    def give_up(self, why: str) -> None:
        """Give up what this node has of them. Raises DriverError."""
        held = self._network.held(self._beside)
        for address in sorted(held):
            self._network.release(address)
        if gone := held | self._has:
            log.info("floating addresses: %s => given up: %s", ", ".join(sorted(gone)), why)
        self._has.clear()

    def _lead(self, primary: Primary) -> None:
        try:
            if self._beside:
                self._prove()
                self._keep()
            if not primary.ready:
                self._report()
        except Stale:
            self.give_up("another node is primary")
        except Unavailable:
            if self._state.store.session is Session.LOST or self._clock.monotonic() >= self._until:
                self.give_up("this node cannot prove that it is primary")
            raise

    def _prove(self) -> None:
        """Raises Stale when it is not so, Unavailable when they do not say."""
        asked = self._clock.monotonic()
        # Through their leader: a server that is cut off from the others answers for a while as if it were not.
        self._state.store.settle(SETTLE)
        if self._state.get(records.PRIMARY).value.node != self._leadership.node:
            raise Stale(records.PRIMARY.path)
        self._presence.check(self._state.transaction())  # without its sign of life, another may claim at any moment
        if asked >= self._until:
            self._has.clear()  # the kernel has taken them back meanwhile
        self._until = asked + self._lease

    def _keep(self) -> None:
        """Raises DriverError naming the addresses that this node cannot have; it has the others then."""
        now = self._clock.monotonic()
        seconds = math.ceil(self._until - now)
        if seconds < 1:
            raise Unavailable("ZooKeeper answers too slowly to prove that this node is primary")
        new = self._beside.keys() - self._has
        if new:
            self._announce_due, self._pause = now, self.interval
        announce = now >= self._announce_due
        if announce:  # again after ever longer pauses, since one that is lost leaves a neighbour with the old place
            self._announce_due, self._pause = now + self._pause, min(2 * self._pause, QUIET)
        errors = [self._take(address, seconds, announce=announce) for address in self._beside]
        if taken := new & self._has:
            log.info("floating addresses: %s => taken: this node is primary", ", ".join(sorted(taken)))
        if any(errors):
            raise DriverError("; ".join(filter(None, errors)))

    def _take(self, address: str, seconds: int, *, announce: bool) -> str:
        """Answers why it could not."""
        self._has.discard(address)
        try:
            self._network.hold(address, self._beside[address], seconds)
            if announce:
                self._network.announce(address)
        except DriverError as error:
            return str(error)
        self._has.add(address)
        return ""

    def _report(self) -> None:
        entry = self._state.get(records.PRIMARY)
        if entry.value.node != self._leadership.node:
            raise Stale(entry.key.path)
        self._state.transaction().update(entry, replace(entry.value, ready=True)).commit()
        log.info("primary: %s (epoch %d) => ready", entry.value.node, entry.value.epoch)

    def _on_session(self, _session: Session) -> None:
        self._due = 0.0
