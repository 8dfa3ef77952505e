"""The shape of every operation: what it locks, where it runs, what it checks, what it does and how that is undone.

An operation is a frozen dataclass of its arguments. The API builds it and calls ``check`` to refuse early; a worker
builds it again from the task's record, takes its locks, checks once more and executes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import msgspec

from pvc_core.config import Config
from pvc_core.errors import BadRequest, Busy, Cancelled, ClaimLost, Failed, PvcError, Refused, Stale, Unavailable
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ports import (
    Bench,
    BenchmarkResults,
    BlockStore,
    Clock,
    Commands,
    Hypervisor,
    NetworkPlane,
    OsdMap,
    Osds,
    Peers,
    Reports,
    Schedules,
    Targets,
)
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Entry, Transaction
from pvc_core.state.records import Lock
from pvc_core.state.view import ClusterView

log = logging.getLogger(__name__)

WAIT_SLICE = 1.0  # seconds between two looks at cancellation while an operation waits for something else
WHOLE_CLUSTER = "cluster"  # while a task holds this lock, no other one is accepted
RELEASE_TIMEOUT = 600.0  # seconds that the release of locks is tried


class Progress(Protocol):
    """Where an operation reports to, and hears from; backed by the task's record."""

    def report(self, current: int, total: int, message: str) -> None: ...

    def cancel_requested(self) -> bool: ...

    def claimed(self) -> bool:
        """Whether this worker still owns the task."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether it has to stop because its worker ends: then it is begun again, by the next one."""
        ...

    def wait_children(
        self, children: list[Operation], timeout: float, at_once: int, ended: Callable[[int], object]
    ) -> list[tuple[Operation, str]]:
        """Send operations as tasks of their own, in this order and at most ``at_once`` at a time, and wait for them to
        end. ``ended`` is told how many have. The answer has those that did not succeed, each with the reason."""
        ...


@dataclass(frozen=True)
class Operation:
    """Base of all operations. Subclasses set the class variables and are registered by their ``task_name``."""

    task_name: ClassVar[str]  # "vm.start"
    summary: ClassVar[str]  # one line for a person
    lane: ClassVar[Lane] = Lane.CONTROL
    role: ClassVar[Role] = Role.OPERATOR
    resumable: ClassVar[bool] = False  # executing it again from the start completes what a dead worker began
    cancellable: ClassVar[bool] = True

    registry: ClassVar[dict[str, type[Operation]]] = {}

    def __init_subclass__(cls) -> None:
        if "task_name" in cls.__dict__:
            Operation.registry[cls.task_name] = cls

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        """What no other operation may touch meanwhile, as ``vm:<uuid>``, ``volume:<pool>:<name>``, ``node:<name>``."""
        return ()

    def subject(self, snapshot: ClusterSnapshot) -> str:
        """What it is about, for a person: the name of what its first lock is on, such as a machine or pool/volume."""
        locks = self.locks(snapshot)
        if not locks:
            return ""
        kind, _, name = locks[0].partition(":")
        entry = snapshot.vms.get(name) if kind == "vm" else None
        return entry.vm.name if entry else name.replace(":", "/")

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        """The node whose libvirt or devices it needs; None when any coordinator will do."""
        return None

    def check(self, snapshot: ClusterSnapshot) -> None:
        """Raise Refused when it cannot or must not be done now. Changes nothing."""

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """The check of a later attempt, which may find the work of an earlier one half done or done."""
        self.check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any] | None:
        """Do it. Report steps, register undos, write only through ``run.transaction()``."""
        raise NotImplementedError(self.task_name)

    def arguments(self) -> dict[str, Any]:
        """The arguments as plain JSON values."""
        arguments: dict[str, Any] = msgspec.to_builtins(self)
        return arguments


def build(name: str, arguments: Mapping[str, Any]) -> Operation:
    """The operation ``name`` with these arguments. Raises BadRequest for an unknown one or for wrong arguments."""
    kind = Operation.registry.get(name)
    if kind is None:
        raise BadRequest(f"there is no operation {name!r}")
    try:
        return msgspec.convert(dict(arguments), kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name}: {error}") from None


@dataclass(frozen=True)
class Tools:
    """What a worker gives to the operations it runs."""

    config: Config
    state: ClusterState
    view: ClusterView
    clock: Clock
    blocks: BlockStore
    hypervisor: Hypervisor
    network: NetworkPlane
    osds: Osds
    osd_map: OsdMap
    bench: Bench
    benchmarks: BenchmarkResults
    peers: Peers
    targets: Targets
    schedules: Schedules
    reports: Reports
    commands: Commands


@dataclass
class Run:
    """One execution of an operation: its tools, its steps, its locks and the way back."""

    tools: Tools
    task_id: str
    progress: Progress
    attempt: int = 1  # above 1: an earlier attempt broke off with its worker
    steps: int = 1
    _current: int = 0
    _message: str = ""
    _held: list[Entry[Lock]] = field(default_factory=list)
    _session: int = 0  # the store's session that holds the locks
    _undo: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    _changed: bool = False
    _committed: bool = False
    _unwinding: bool = False

    @property
    def snapshot(self) -> ClusterSnapshot:
        return self.tools.view.snapshot()

    def plan(self, steps: int) -> None:
        """Say how many steps are still to come."""
        self.steps = self._current + steps

    def step(self, message: str) -> None:
        """Begin the next step. Raises Cancelled when that was asked for, ClaimLost when the task is no longer ours."""
        self.checkpoint()
        self._message = message
        self.progress.report(self._current, self.steps, message)
        self._current += 1

    def part(self, done: int, total: int, more: str = "") -> None:
        """Progress within the present step, in whatever unit the two numbers share (see ``Meter`` for bytes). ``more``
        goes with it."""
        share = done / total if total else 1.0
        details = ", ".join(filter(None, (f"{min(100, int(100 * share))} %", more)))
        self.progress.report(self._current - 1, self.steps, f"{self._message} ({details})")

    def cancelled(self) -> bool:
        """For loops of drivers, which stop early when it turns true."""
        return (self.progress.cancel_requested() and not self._committed) or not self.progress.claimed()

    def checkpoint(self) -> None:
        """Raises as ``step`` does. After the commit point a wish to cancel comes too late."""
        if not self.progress.claimed():
            raise ClaimLost("this worker was silent for too long, and its task was given away")
        if self.progress.cancel_requested() and not self._committed:
            raise Cancelled("cancelled on request")

    def undo(self, description: str, action: Callable[[], object]) -> None:
        """Register how to take back what was just done; ``description`` says what is left if that fails."""
        self._undo.append((description, action))
        self._changed = True

    def keep(self) -> None:
        """What was done so far stands, whatever becomes of the rest, which may still be cancelled."""
        self._undo.clear()
        self._changed = True

    def commit_point(self) -> None:
        """From here on nothing is undone: the operation stands, and what follows only completes it. It means nothing in
        what is done in order to undo."""
        if not self._unwinding:
            self.keep()
            self._committed = True

    def mark_changed(self) -> None:
        """Something was changed, or may have been, for which there is no undo."""
        self._changed = True

    @property
    def interrupted(self) -> bool:
        """Whether it has to stop now, to be begun again by another worker."""
        return self.progress.interrupted

    @property
    def committed(self) -> bool:
        """Whether it is past its commit point."""
        return self._committed

    @property
    def changed(self) -> bool:
        """Whether anything was changed so far."""
        return self._changed

    def transaction(self) -> Transaction:
        """A transaction that also fails when this run no longer holds its locks. Raises Unavailable when they went with
        an earlier session: the versions of locks that others took since would look the same."""
        transaction = self.tools.state.transaction()
        if self._unwinding:  # each undo looks at what is there, and must work without the locks as well
            return transaction
        if self._held and self._session != self.tools.state.store.owner:
            raise Unavailable("the locks were lost together with the session with ZooKeeper")
        for entry in self._held:
            transaction.check(entry)
        return transaction

    def wait(self, what: str, predicate: Callable[[ClusterSnapshot], bool], timeout: float) -> bool:
        """Wait for the cluster to reach a state; False after ``timeout`` seconds. Stops for cancel and lost claims."""
        deadline = self.tools.clock.monotonic() + timeout
        while not self.tools.view.wait(predicate, max(0.0, min(WAIT_SLICE, deadline - self.tools.clock.monotonic()))):
            self.checkpoint()
            if self.tools.clock.monotonic() >= deadline:
                log.info("gave up waiting for %s after %.0f s", what, timeout)
                return False
        return True

    def acquire(self, locks: tuple[str, ...]) -> None:
        """Take these locks too, all or none, always in the order of their names. Raises Busy naming who holds one."""
        timeout = 2 * self.tools.config.zookeeper.session_timeout
        # An earlier, dead attempt of this very task keeps its locks until its session ends: wait for that, no one else.
        self.wait("earlier locks", lambda now: all(now.locks.get(w) != self.task_id for w in locks), timeout)
        transaction, before = self.transaction(), len(self._held)
        for what in sorted(locks):
            transaction.create(records.lock(what), Lock(self.task_id), ephemeral=True)
        self._held += [Entry(records.lock(what), Lock(self.task_id), 0) for what in sorted(locks)]
        self._session = self.tools.state.store.owner
        try:
            transaction.commit()
        except Stale as error:
            del self._held[before:]
            what = error.path.removeprefix(f"{records.LOCKS}/")
            holder = self.snapshot.locks.get(what, "another task")
            raise Busy(f"{what} is in use by task {holder}; try again when that has ended") from None

    @contextmanager
    def holding(self, *locks: str) -> Iterator[None]:
        """Hold these locks as well, for as long as the context lasts. Raises Busy naming who holds one."""
        before = len(self._held)
        self.acquire(locks)
        try:
            yield
        finally:
            self._give_back(before)

    def release(self) -> None:
        """Give the locks back. While ZooKeeper does not answer this waits, for as long as the session that holds them
        may live: a lock that is forgotten in a living session would hold up every later task."""
        self._give_back(0)

    def _give_back(self, left: int) -> None:
        """Release all but the first ``left`` locks, the newest first."""
        deadline = self.tools.clock.monotonic() + RELEASE_TIMEOUT
        while len(self._held) > left and self.tools.clock.monotonic() < deadline:
            try:
                self._release_last()
            except Unavailable as error:
                log.warning("lock %s is not released yet: %s", self._held[-1].key.path, error)
                self.tools.view.wait(lambda _: False, WAIT_SLICE)
        del self._held[left:]

    def _release_last(self) -> None:
        if self.tools.state.store.owner == self._session:
            held = self._held[-1]
            entry = self.tools.state.find(held.key)
            if entry is not None and entry.value == held.value:
                with suppress(Stale):  # it went with its session meanwhile
                    self.tools.state.transaction().delete(entry).commit()
        self._held.pop()

    def unwind(self) -> tuple[str, ...]:
        """Undo in reverse. Answers what could not be undone."""
        left = []
        self._unwinding = True
        for description, action in reversed(self._undo):
            try:
                action()
            except PvcError as error:
                left.append(f"{description} ({error})")
            except Exception as error:  # a defect of ours must not keep the rest from being undone
                log.exception("undo broke off: %s", description)
                left.append(f"{description} ({type(error).__name__}: {error})")
        self._undo.clear()
        return tuple(left)


def perform(operation: Operation, run: Run) -> Mapping[str, Any]:
    """Run one operation from its locks to its end. Raises Refused (nothing changed), Cancelled or Failed."""
    run.tools.view.settle()
    try:
        run.acquire(operation.locks(run.snapshot))
        run.tools.view.settle()
        if run.attempt > 1:
            operation.check_again(run.snapshot)
        else:
            operation.check(run.snapshot)
        return operation.execute(run) or {}
    except ClaimLost:
        raise  # the task has another owner now, who also owns what is to be undone
    except Cancelled as error:
        if not run.progress.claimed():  # a loop of a driver cannot tell the two apart
            raise ClaimLost("this worker was silent for too long, and its task was given away") from None
        left = run.unwind()
        raise Cancelled(str(error), left=left + error.left) from None
    except PvcError as error:
        left = run.unwind()
        if isinstance(error, Refused) and not run.changed:
            raise
        left += getattr(error, "left", ())
        if run.committed and not left:
            left = ("what it had done by then stands",)
        raise Failed(str(error), left=left) from error
    except Exception as error:  # a defect of ours: what was begun is taken back like after any other failure
        log.exception("%s broke off", operation.task_name)
        raise Failed(f"internal error: {type(error).__name__}: {error}", left=run.unwind()) from error
    finally:
        run.release()
