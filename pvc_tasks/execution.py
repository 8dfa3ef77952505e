"""One task while it runs here: whether it is still ours, whether it has to stop, and what it reports."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection

from pvc_core.config import WorkerConfig
from pvc_core.ops.base import Operation, Run
from pvc_tasks import claims
from pvc_tasks.children import run_children
from pvc_tasks.persist import persist
from pvc_web.tasks.models import Task

log = logging.getLogger(__name__)

REPORT_INTERVAL = 0.5  # seconds between two records of progress within one step


class Execution:
    """The ``Progress`` of an operation. Its methods are called by the thread that runs the operation, except
    ``confirm``, ``lose``, ``cancel`` and ``interrupt``, which others call."""

    def __init__(self, task: Task, config: WorkerConfig) -> None:
        self.task = task
        # Our belief ends before the reaper's patience does, by the time that a write under way may still take.
        self._trust = config.heartbeat_limit - config.heartbeat_interval
        self._confirmed = time.monotonic()
        self._lost = threading.Event()
        self._cancel = threading.Event()
        self._interrupt = threading.Event()
        self._step = -1
        self._next_report = 0.0
        self._unwritten: dict[str, Any] = {}
        if task.cancel_requested:
            self._cancel.set()

    def confirm(self, asked_at: float, cancel: bool) -> None:
        """The database showed our claim, in answer to a question of the monotonic time ``asked_at``."""
        self._confirmed = max(self._confirmed, asked_at)
        if cancel:
            self._cancel.set()

    def lose(self) -> None:
        self._lost.set()

    def cancel(self) -> None:
        self._cancel.set()

    def interrupt(self) -> None:
        """Stop at the next step though nobody asked for it: this worker has to end."""
        self._interrupt.set()

    @property
    def interrupted(self) -> bool:
        return self._interrupt.is_set() and not self._cancel.is_set()

    def claimed(self) -> bool:
        """Whether the task is still ours. When the last heartbeat is too old to tell, the database is asked, and waited
        for."""
        if not self._lost.is_set() and time.monotonic() - self._confirmed >= self._trust:
            persist(f"task {self.task.id}", self._ask)
        return not self._lost.is_set()

    def cancel_requested(self) -> bool:
        return self._cancel.is_set() or self._interrupt.is_set()

    def report(self, current: int, total: int, message: str) -> None:
        now = time.monotonic()
        if current == self._step and now < self._next_report:
            return
        self._step, self._next_report = current, now + REPORT_INTERVAL
        self._write(current=current, total=total, message=message)

    def undoable(self, descriptions: list[str]) -> None:
        """Record what is left behind if this worker dies now."""
        self._write(undoable=descriptions)

    def wait_children(
        self, children: list[Operation], timeout: float, at_once: int, ended: Callable[[int], object]
    ) -> list[tuple[Operation, str]]:
        return run_children(self.task, self, children, timeout, at_once, ended)

    def _ask(self) -> None:
        asked_at = time.monotonic()
        cancel = claims.beat([self.task.claim]).get(self.task.claim)
        if cancel is None:
            self.lose()
        else:
            self.confirm(asked_at, cancel)

    def _write(self, **fields: Any) -> None:
        """Write to the record. While the database is away, what is to be written is kept for the next time."""
        self._unwritten |= fields
        try:
            if not claims.update(self.task, **self._unwritten):
                self.lose()
            self._unwritten = {}
        except DatabaseError as error:
            log.warning("task %s: progress is not recorded: %s", self.task.id, " ".join(str(error).split()))
            connection.close()


@dataclass
class RecordedRun(Run):
    """A run whose undo stack is in the task's record too, so that it is known even when this worker is killed."""

    record: Callable[[list[str]], None] = lambda _: None

    def acquire(self, locks: tuple[str, ...]) -> None:
        """The database lets one unfinished task through for each lock. One that is still held belongs to a task whose
        worker died, and goes with that worker's session."""
        patience = 2 * self.tools.config.zookeeper.session_timeout
        self.wait("locks of dead workers", lambda now: not any(what in now.locks for what in locks), patience)
        super().acquire(locks)

    def undo(self, description: str, action: Callable[[], object]) -> None:
        super().undo(description, action)
        self.record([description for description, _ in self._undo])

    def keep(self) -> None:
        super().keep()
        self.record([])
