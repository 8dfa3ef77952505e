"""Operations that send others: a parent's tasks of its own, their ends awaited."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Protocol

from django.db import transaction
from django.db.models import Q

from pvc_core.errors import Cancelled, ClaimLost, Refused
from pvc_core.model.task import TaskState
from pvc_core.ops.base import Operation
from pvc_tasks.persist import persist
from pvc_web.config import cluster
from pvc_web.tasks import service
from pvc_web.tasks.models import Task, TaskQuerySet
from pvc_web.tasks.notices import Notice, notices

RECHECK_INTERVAL = 1.0  # seconds between two looks at the children and at the parent's own cancelling
UNDO_TIMEOUT = 60.0  # seconds that cancelled children get to undo what they did
NOT_BEGUN = "it was not begun in time"


class Parent(Protocol):
    def claimed(self) -> bool: ...

    def cancel_requested(self) -> bool: ...


def run_children(
    task: Task,
    parent: Parent,
    operations: list[Operation],
    timeout: float,
    at_once: int,
    ended: Callable[[int], object],
) -> list[tuple[Operation, str]]:
    """Send ``operations`` as children of ``task``, at most ``at_once`` at a time, and wait until all have ended.

    ``ended`` is told how many have. The answer has those that did not succeed, each with the reason; one that was
    refused did not begin. When the parent is cancelled, or after ``timeout`` seconds, the children are cancelled too,
    and no more are sent. Raises Cancelled and ClaimLost.
    """
    children = _Children(task, operations)
    with notices.listening(children.listen):
        if not children.run(parent, time.monotonic() + timeout, at_once, ended):
            persist("cancelling children", children.cancel)
            children.run(None, time.monotonic() + UNDO_TIMEOUT, 0, ended)
    if parent.cancel_requested():
        raise Cancelled("cancelled on request", left=persist("a look at children", children.left))
    return persist("a look at children", lambda: children.failures(timeout))


class _Children:
    def __init__(self, task: Task, operations: list[Operation]) -> None:
        self._task = task
        self._unsent = deque(operations)
        self._sent: dict[uuid.UUID, Operation] = {}
        self._refused: list[tuple[Operation, str]] = []
        self._changed = threading.Event()

    def listen(self, notice: Notice | None) -> None:
        if notice is None or notice.task_id in self._sent:
            self._changed.set()

    def run(self, parent: Parent | None, deadline: float, at_once: int, ended: Callable[[int], object]) -> bool:
        """Keep ``at_once`` children under way. Whether all that were sent ended before the deadline, with none left to
        send, and before the parent was cancelled."""
        while True:
            under_way = persist("a look at children", lambda: self._unfinished().count())
            while under_way < at_once and self._unsent:
                operation = self._unsent.popleft()
                under_way += persist("a child", lambda: self._send(operation))  # noqa: B023  (called at once)
            ended(len(self._sent) + len(self._refused) - under_way)
            if not under_way and not (at_once and self._unsent):
                return True
            if parent is not None and not parent.claimed():
                raise ClaimLost("this worker was silent for too long, and its task was given away")
            if time.monotonic() >= deadline or (parent is not None and parent.cancel_requested()):
                return False
            self._changed.wait(RECHECK_INTERVAL)
            self._changed.clear()

    def cancel(self) -> None:
        with transaction.atomic():
            service.stop(self._unfinished().order_by("pk").select_for_update(of=("self",)))

    def left(self) -> tuple[str, ...]:
        return tuple(left for child in Task.objects.filter(pk__in=self._sent) for left in child.left)

    def failures(self, timeout: float) -> list[tuple[Operation, str]]:
        failed = [*self._refused, *((operation, NOT_BEGUN) for operation in self._unsent)]
        now = Task.objects.in_bulk(self._sent)
        for pk, operation in self._sent.items():
            if now[pk].state != TaskState.SUCCEEDED:
                failed.append((operation, now[pk].message or f"still {now[pk].state} after {timeout:.0f} s"))
        return failed

    def _send(self, operation: Operation) -> bool:
        try:
            child = self._adopt(operation) or service.submit(operation, self._task.requested_by, parent=self._task)
        except Refused as error:
            self._refused.append((operation, error.message))
            return False
        self._sent[child.pk] = operation
        return True

    def _adopt(self, operation: Operation) -> Task | None:
        """A child of an earlier attempt of this task that is still under way: the same one, or one on the same thing,
        since what was decided then may be decided otherwise by now."""
        same = Q(arguments=operation.arguments()) | Q(locks__what__in=operation.locks(cluster.view().snapshot()))
        mine = self._task.children.unfinished().filter(operation=operation.task_name, cancel_requested=False)
        return mine.filter(same).exclude(pk__in=self._sent).first()

    def _unfinished(self) -> TaskQuerySet:
        return Task.objects.unfinished().filter(pk__in=self._sent)
