"""The primary's work on dead nodes: it proves them dead, and gives their machines to others. Here is when each step is
taken; ``fence_steps`` has what it does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from pvc_core.config import Config
from pvc_core.errors import PvcError, Stale
from pvc_core.model.fence import FenceStep, Method
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ports import BlockStore, Clock, Power, Session
from pvc_core.rules import fencing, recovery
from pvc_core.rules.fencing import Action, Advance, Begin, CallOff, Close, DropOsds, PowerOn, Recover, Sight, Try
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.fence_steps import FenceSteps
from pvc_node.leadership import Leadership
from pvc_node.watch import Watch
from pvc_node.workers import Workers

log = logging.getLogger(__name__)

QUIET = 2.0  # seconds until an action that failed is tried again
CATCH_UP = 0.1  # the same for one that was decided on what is not true any more: the view will show it
WAITING_INTERVAL = 5.0  # seconds between two searches for a place for the machines that wait for one
SWEEP_INTERVAL = 30.0  # seconds between two looks for nodes that are shut out without a fence


@dataclass(frozen=True, slots=True)
class _Waiting(Action):
    """Look for a place for the machines that wait for one. Its ``node`` is empty."""


@dataclass(frozen=True, slots=True)
class _Sweep(Action):
    """Look for nodes that are shut out of the storage and have no fence. Its ``node`` is empty."""


_Key = tuple[str, type[Action], str]  # of an action that is under way: its node, kind and method
_SIDE_BY_SIDE = frozenset({Try, Advance, Recover})  # these change nothing that another of them relies on


@dataclass
class _Progress:
    """What the fencer remembers of one fence. It begins anew with each fencer: that only costs time."""

    fence_began: float
    step: FenceStep
    since: float  # monotonic, when this fencer first saw the step
    tried: dict[Method, float] = field(default_factory=dict)


class Fencer:
    """``tick`` is called by one thread, after changes of the view and at least twice a second."""

    def __init__(
        self,
        config: Config,
        state: ClusterState,
        view: ClusterView,
        leadership: Leadership,
        power: Power,
        blocks: Callable[[], BlockStore],
        clock: Clock,
        workers: Workers,
        mute: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """``mute`` tells the nodes whose BMC did not answer while all was well."""
        self._mute = mute
        self._node = config.node.name
        self._config = config.fencing
        self._state = state
        self._view = view
        self._leadership = leadership
        self._clock = clock
        self._steps = FenceSteps(config, state, view, leadership, power, blocks, clock, self._note_try)
        self._workers = workers
        self._watch = Watch(config)
        self._lock = threading.Lock()  # of the next two, which the workers change
        self._busy: set[_Key] = set()
        self._quiet: dict[_Key, float] = {}  # until when an action is not taken again
        self._progress: dict[str, _Progress] = {}
        self._stray: frozenset[str] = frozenset()  # nodes that are shut out and have no fence
        self._dropped: frozenset[str] = frozenset()  # dead nodes whose OSDs are marked down

    def tick(self) -> None:
        """One look, and what follows from it. Decides nothing without a connection to ZooKeeper."""
        if self._state.store.session is not Session.CONNECTED:
            self._watch.interrupt()
            return
        snapshot = self._view.snapshot()
        now = self._clock.monotonic()
        due = self._watch.look(snapshot, now)
        self._follow(snapshot, now)
        self._dropped &= fencing.dead(snapshot)
        actions = fencing.decide(snapshot, self._sight(due, now), self._config, self._clock.now())
        if self._leadership.is_primary(snapshot):
            actions.append(_Sweep(""))
            if recovery.waiting(snapshot):
                actions.append(_Waiting(""))
        else:
            self._stray = self._dropped = frozenset()  # what was true in an earlier term may be so no more
        for action in actions:
            self._submit(action, now)

    def _follow(self, snapshot: ClusterSnapshot, now: float) -> None:
        kept: dict[str, _Progress] = {}
        for name, entry in snapshot.fences.items():
            old, fence = self._progress.get(name), entry.fence
            if old is None or old.fence_began != fence.began:
                old = _Progress(fence.began, fence.step, since=now)
            elif old.step is not fence.step:
                old.step, old.since = fence.step, now
            kept[name] = old
        self._progress = kept

    def _sight(self, due: frozenset[str], now: float) -> Sight:
        known = self._progress.items()
        return Sight(
            self._node,
            due,
            {name: now - progress.since for name, progress in known},
            # A copy, since the workers add to it.
            {(name, method): now - when for name, progress in known for method, when in progress.tried.copy().items()},
            frozenset(self._mute()),
            self._stray,
            self._dropped,
        )

    def _submit(self, action: Action, now: float) -> None:
        method = action.method.value if isinstance(action, Try) else ""
        key = (action.node, type(action), method)
        with self._lock:
            under_way = [kind for node, kind, _ in self._busy if node == action.node]
            if key in self._busy or self._quiet.get(key, now) > now:
                return
            if action.node and not _beside(type(action), under_way):
                return
            # One fence begins at a time, of whichever node: the next one has to see that this one is under way.
            if isinstance(action, Begin) and any(kind is Begin for _, kind, _ in self._busy):
                return
            self._busy.add(key)
        self._workers.submit(lambda: self._carry_out(key, action))

    def _carry_out(self, key: _Key, action: Action) -> None:
        quiet = QUIET
        try:
            self._apply(action)
            quiet = _pause(action)
        except Stale as error:
            log.debug("dropped %s: %s", action, error)
            quiet = CATCH_UP
        except PvcError as error:
            about = f"fence {action.node}: " if action.node else "fences: "
            log.warning("%s%s failed: %s", about, type(action).__name__.removeprefix("_"), error)
        finally:
            with self._lock:
                self._busy.discard(key)
                self._quiet[key] = self._clock.monotonic() + quiet
            self._view.wake()

    def _apply(self, action: Action) -> None:
        match action:
            case Begin():
                self._steps.begin(action.fence)
                self._stray -= {action.fence.node}
            case Try():
                self._steps.attempt(action.entry, action.method)
            case Advance():
                self._steps.advance(action.entry, action.fence)
            case Recover():
                self._steps.recover(action.entry)
            case CallOff():
                self._steps.call_off(action.entry)
            case PowerOn():
                self._steps.power_on(action.entry)
            case Close():
                self._steps.close(action.entry)
            case _Waiting():
                self._steps.place_waiting()
            case _Sweep():
                self._stray = self._steps.sweep()
            case DropOsds():
                self._steps.drop_osds(action.names)
                self._dropped |= action.names

    def _note_try(self, node: str, method: Method) -> None:
        if (progress := self._progress.get(node)) is not None:
            progress.tried[method] = self._clock.monotonic()


def _pause(action: Action) -> float:
    """Seconds until an action that was done is looked at again."""
    match action:
        case _Waiting():
            return WAITING_INTERVAL
        case _Sweep():
            return SWEEP_INTERVAL
        case Recover() if action.entry.fence.step is FenceStep.FENCED:
            return QUIET
    return 0.0


def _beside(kind: type[Action], under_way: list[type[Action]]) -> bool:
    """Whether an action may begin while those others about the same node are under way."""
    return not under_way or (kind in _SIDE_BY_SIDE and _SIDE_BY_SIDE.issuperset(under_way))
