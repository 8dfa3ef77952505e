"""Operations that send others: a parent's tasks of its own, their ends awaited."""

from __future__ import annotations

import time
import uuid
from typing import Protocol

from django.db import transaction

from pvc_core.errors import Cancelled, ClaimLost, Refused
from pvc_core.model.task import TaskState
from pvc_core.ops.base import Operation
from pvc_web.tasks import service
from pvc_web.tasks.models import Task
from pvc_web.tasks.notices import notices

RECHECK_INTERVAL = 1.0  # seconds between two looks at the children and at the parent's own cancelling
UNDO_TIMEOUT = 60.0  # seconds that cancelled children get to undo what they did


class Parent(Protocol):
    def claimed(self) -> bool: ...

    def cancel_requested(self) -> bool: ...


def run_children(
    task: Task, parent: Parent, operations: list[Operation], timeout: float
) -> list[tuple[Operation, str]]:
    """Send ``operations`` as children of ``task`` and wait until all have ended.

    The answer has those that did not succeed, each with the reason; one that was refused did not begin. When the
    parent is cancelled, or after ``timeout`` seconds, the children are cancelled too. Raises Cancelled and ClaimLost.
    """
    failed: list[tuple[Operation, str]] = []
    sent: dict[Operation, Task] = {}
    for operation in operations:
        try:
            sent[operation] = _adopt(task, operation) or service.submit(operation, task.requested_by, parent=task)
        except Refused as error:
            failed.append((operation, error.message))
    children = [child.pk for child in sent.values()]
    if not _wait(children, parent, time.monotonic() + timeout):
        _cancel(children)
        _wait(children, None, time.monotonic() + UNDO_TIMEOUT)
    if parent.cancel_requested():
        raise Cancelled("cancelled on request", left=_left(children))
    ended = Task.objects.in_bulk(children)
    for operation, child in sent.items():
        now = ended[child.pk]
        if now.state != TaskState.SUCCEEDED:
            failed.append((operation, now.message or f"still {now.state} after {timeout:.0f} s"))
    return failed


def _adopt(task: Task, operation: Operation) -> Task | None:
    """The same child of an earlier attempt of this task, when it is still under way."""
    return (
        task.children.unfinished()
        .filter(operation=operation.task_name, arguments=operation.arguments(), cancel_requested=False)
        .first()
    )


def _wait(children: list[uuid.UUID], parent: Parent | None, deadline: float) -> bool:
    """Whether all ended before the deadline, and before the parent was cancelled."""
    with notices.watching(children) as changed:
        while Task.objects.unfinished().filter(pk__in=children).exists():
            if parent is not None and not parent.claimed():
                raise ClaimLost("this worker was silent for too long, and its task was given away")
            if time.monotonic() >= deadline or (parent is not None and parent.cancel_requested()):
                return False
            changed.wait(RECHECK_INTERVAL)
            changed.clear()
    return True


def _cancel(children: list[uuid.UUID]) -> None:
    with transaction.atomic():
        service.stop(Task.objects.unfinished().filter(pk__in=children).order_by("pk").select_for_update(of=("self",)))


def _left(children: list[uuid.UUID]) -> tuple[str, ...]:
    return tuple(left for child in Task.objects.filter(pk__in=children) for left in child.left)
