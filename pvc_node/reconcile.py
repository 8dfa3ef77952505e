"""The loop that makes this node what the cluster wants of it: one picture, decisions, actions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from pvc_core.config import TimingConfig
from pvc_core.errors import DriverError, PvcError, Stale, Unavailable
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.model.vm import Domain, VmState
from pvc_core.ports import Clock, Hypervisor, Session
from pvc_core.rules import election, lifecycle
from pvc_core.rules.lifecycle import Action, Pressed, Record, Sight
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Transaction
from pvc_core.state.view import ClusterView
from pvc_node.actions import Actions
from pvc_node.bridges import Bridges
from pvc_node.disks import Disks
from pvc_node.homecoming import Homecoming
from pvc_node.identity import Identity
from pvc_node.presence import Presence
from pvc_node.trouble import Trouble
from pvc_node.workers import Workers

log = logging.getLogger(__name__)

ANSWERED = 10.0  # seconds within which a decision that was carried out is not carried out again
FAILED = 1.0  # the same for one that was not: seconds until it is tried again
SETTLE = 5.0


class Reconciler:
    """``cycle`` is called by one thread, after every change of the view and at least once a keepalive."""

    def __init__(
        self,
        node: str,
        identity: Identity,
        state: ClusterState,
        view: ClusterView,
        presence: Presence,
        hypervisor: Hypervisor,
        bridges: Bridges,
        clock: Clock,
        timing: TimingConfig,
        workers: Workers,
        disks: Disks,
        homecoming: Homecoming,
    ) -> None:
        self._node = node
        self._identity = identity
        self._state = state
        self._view = view
        self._presence = presence
        self._hypervisor = hypervisor
        self._bridges = bridges
        self._clock = clock
        self._timing = timing
        self._workers = workers
        self._homecoming = homecoming
        self._actions = Actions(
            state, hypervisor, clock, timing, disks, on_pressed=self._pressed_now, on_started=self._started_now
        )
        self._lock = threading.Lock()  # of the next three, which the workers change
        self._pending: set[str] = set()  # machines that an action is under way for
        self._pressed: dict[str, tuple[float, float]] = {}  # machine -> first and last press of its power button
        self._answered: dict[object, float] = {}  # id of a decision -> until when it is not carried out again
        self._domains: Mapping[str, Domain] = {}  # as last seen
        self._concern: object = None  # what the last look at the hypervisor was about
        self._look_due = 0.0
        self._poked = threading.Event()  # the hypervisor has news, or an action has ended
        self._unsettled = True  # the connection was away, so the view may show the past
        self._domain_state: DomainState | None = None if identity.booted else DomainState.READY
        self._autostart = False
        self._libvirt = Trouble("libvirt")
        self._store = Trouble("ZooKeeper")
        state.store.on_session(self._on_session)
        hypervisor.on_change(self.poke)

    def poke(self) -> None:
        """Let the next cycle look at the hypervisor, and let it come now."""
        self._poked.set()
        self._view.wake()

    def cycle(self) -> None:
        """One look, and what follows from it. Decides nothing while there is no connection to ZooKeeper."""
        if self._state.store.session is not Session.CONNECTED:
            self._store.begin("there is no connection: machines run on, and nothing is decided")
            return
        try:
            if self._unsettled:
                self._unsettled = False
                self._view.settle(SETTLE)
                self._concern = None
            # What is pending is read before the picture is: an action that ends in between is then in the picture, or
            # the picture is older and its versions do not fit.
            with self._lock:
                pending = set(self._pending)
            snapshot = self._view.snapshot()
            self._elect(snapshot)
            self._bridges.apply(snapshot.networks)
            self._note_domain_state(snapshot)
            self._machines(snapshot, pending)
            self._homecoming.look(snapshot, idle=not pending)
            self._store.end()
        except PvcError as error:
            self._unsettled = self._unsettled or isinstance(error, Unavailable)
            self._store.begin(error)

    def _elect(self, snapshot: ClusterSnapshot) -> None:
        claim = election.decide(snapshot, self._node)
        if claim is None:
            return
        entry = self._state.find(records.PRIMARY)
        if (entry.value if entry is not None else None) != claim.old:
            return  # decided already, and not seen here yet
        transaction = self._state.transaction()
        self._presence.check(transaction)
        if entry is None:
            transaction.create(records.PRIMARY, claim.new)
        else:
            if not self._prove_away(transaction, snapshot.nodes.get(entry.value.node)):
                return
            transaction.update(entry, claim.new)
        try:
            transaction.commit()
        except Stale:
            return
        old = claim.old.node if claim.old is not None else "none"
        log.info("primary: %s => %s (epoch %d): %s", old, claim.new.node, claim.new.epoch, claim.why)

    def _prove_away(self, transaction: Transaction, former: NodeEntry | None) -> bool:
        """Let ``transaction`` fail when the former primary shows another sign of life than now; False when it has come
        back by now, and keeps the role."""
        if former is None:
            return True
        key = records.alive(former.node.name)
        alive = self._state.find(key)
        if alive is None:
            transaction.absent(key)
            return True
        transaction.check(alive)
        return not election.keeps(replace(former, alive=alive.value))

    def _note_domain_state(self, snapshot: ClusterSnapshot) -> None:
        entry = snapshot.nodes.get(self._node)
        state = entry.node.domain_state if entry is not None else None
        if state is DomainState.READY and self._domain_state is not DomainState.READY:
            self._autostart = True
        if state is not self._domain_state:
            self._concern = None
        self._domain_state = state

    def _machines(self, snapshot: ClusterSnapshot, pending: set[str]) -> None:
        sight = self._sight(self._domains)
        fence = snapshot.fences.get(self._node)
        concern = (
            [
                (e.vm.uuid, e.version, e.status_version, lifecycle.left_held(snapshot, e))
                for e in lifecycle.concerning(snapshot, sight)
            ],
            None if fence is None else fence.version,
        )
        now = self._clock.monotonic()
        if concern == self._concern and now < self._look_due and not self._poked.is_set():
            return
        self._poked.clear()
        try:
            self._domains = self._hypervisor.domains()
        except DriverError as error:  # which tells nothing about the machines
            self._libvirt.begin(error)
            self._look_due = now + self._timing.keepalive_interval
            self._concern = concern
            return
        self._libvirt.end()
        self._look_due = now + self._timing.keepalive_interval
        self._concern = concern
        actions = lifecycle.decide(snapshot, self._sight(self._domains), self._clock.now())
        self._submit([action for action in actions if action.subject.uuid not in pending])
        if self._autostart and not any(isinstance(a, Record) and a.new == VmState.START for a in actions):
            self._autostart = False

    def _sight(self, domains: Mapping[str, Domain]) -> Sight:
        now = self._clock.monotonic()
        with self._lock:
            pressed = {uuid: Pressed(now - first, now - last) for uuid, (first, last) in self._pressed.items()}
        return Sight(self._node, self._identity.incarnation, domains, pressed, self._timing, self._autostart)

    def _submit(self, actions: list[Action]) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._answered = {id_: until for id_, until in self._answered.items() if until > now}
            due = [action for action in actions if action.id not in self._answered]
            self._pending.update(action.subject.uuid for action in due)
        for action in due:
            self._workers.submit(lambda action=action: self._carry_out(action))  # type: ignore[misc]

    def _carry_out(self, action: Action) -> None:
        quiet = FAILED
        try:
            self._actions.apply(action)
            quiet = ANSWERED
        except Stale as error:
            log.debug("dropped %s: %s", action, error)
        except PvcError as error:
            log.warning("vm %s (%s): %s failed: %s", action.subject.name, action.subject.uuid, action.new, error)
        finally:
            with self._lock:
                self._answered[action.id] = self._clock.monotonic() + quiet
                self._pending.discard(action.subject.uuid)
            self.poke()

    def _pressed_now(self, uuid: str) -> None:
        with self._lock:
            now = self._clock.monotonic()
            first, _ = self._pressed.get(uuid, (now, now))
            self._pressed[uuid] = (first, now)

    def _started_now(self, uuid: str) -> None:
        with self._lock:
            self._pressed.pop(uuid, None)

    def _on_session(self, _session: Session) -> None:
        self._unsettled = True
        self._view.wake()
