"""Accepting work, waiting for its end, and cancelling it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from pvc_core.errors import Busy, Conflict, Forbidden, NotFound
from pvc_core.model.task import Role, TaskState
from pvc_core.ops.base import WHOLE_CLUSTER, Operation
from pvc_web.accounts.models import User
from pvc_web.config import cluster
from pvc_web.tasks import broker
from pvc_web.tasks.models import Audit, Task, TaskLock
from pvc_web.tasks.notices import notices

RECHECK_INTERVAL = 3.0  # seconds after which a waiter looks again, in case a notice was lost
CANCEL_ACTION = "task.cancel"

_SECRET_NAME = re.compile(r"passw|secret|token|key|^configuration$", re.IGNORECASE)
_SECRET_ATTRIBUTE = re.compile(r"""(\bpassw\w*\s*=\s*)("[^"]*"|'[^']*')""", re.IGNORECASE)  # of libvirt's XML


def submit(operation: Operation, user: User | None, *, origin: str = "", parent: Task | None = None) -> Task:
    """Accept an operation: its record, its locks and the audit row in one transaction, its message after that.

    ``user`` is who asks, None for the cluster itself; ``origin`` is the address asked from. A child of a task is not
    checked against the role again. Raises Forbidden, whatever ``operation.check`` raises, and Busy when an unfinished
    task works on the same thing; then nothing was changed.
    """
    if user is not None and parent is None and not user.may(operation.role):
        raise Forbidden(f"{operation.task_name} needs the role {operation.role.name.lower()}")
    snapshot = cluster.view().snapshot()
    operation.check(snapshot)
    locks = operation.locks(snapshot)
    task = Task(
        operation=operation.task_name,
        arguments=operation.arguments(),
        subject=operation.subject(snapshot),
        lane=operation.lane,
        node=operation.worker_node(snapshot) or "",
        requested_by=user,
        parent=parent,
    )
    try:
        with transaction.atomic():
            task.save(force_insert=True)
            TaskLock.objects.bulk_create(TaskLock(what=what, task=task) for what in sorted(locks))
            if TaskLock.objects.filter(what=WHOLE_CLUSTER).exclude(task=task).exists():
                raise Busy("the whole cluster is being restored; try again when that has ended")
            _audit(user, origin, operation.task_name, task)
            transaction.on_commit(lambda: broker.send([task]))
    except IntegrityError:
        raise _busy(locks) from None
    return task


def wait(task_id: uuid.UUID, timeout: float) -> Task:
    """The task once it is over, or as it is after ``timeout`` seconds. Raises NotFound."""
    return _wait(task_id, timeout, lambda task, _: task.over)


def wait_change(task_id: uuid.UUID, timeout: float) -> Task:
    """The task once it has changed since the call, at once when it is over, or as it is after ``timeout`` seconds."""
    return _wait(task_id, timeout, lambda task, first: task.over or _seen(task) != _seen(first))


def cancel(task_id: uuid.UUID, user: User | None, *, origin: str = "") -> Task:
    """Stop a task: at once when it has not begun, else at its next step. Its children too.

    Who asked for it may cancel it, and whoever could have asked for it. Raises NotFound, Forbidden, and Conflict when
    it is over already.
    """
    with transaction.atomic():
        task = _locked(task_id)
        if user is not None and task.requested_by_id != user.pk and not user.may(_role(task)):
            raise Forbidden(f"cancelling {task.operation} needs the role {_role(task).name.lower()}")
        if task.over:
            raise Conflict(f"task {task.id} is over already: {task.state}")
        kind = Operation.registry.get(task.operation)
        if kind is not None and not kind.cancellable:
            raise Conflict(f"{task.operation} cannot be cancelled: it has been decided, and is completed in any case")
        stop([task, *task.children.unfinished().select_for_update(of=("self",))])
        _audit(user, origin, CANCEL_ACTION, task)
    return get(task_id)


def stop(tasks: Sequence[Task]) -> None:
    """Cancel unfinished tasks whose rows the caller has locked."""
    for task in tasks:
        task.cancel_requested = True
        fields = ["cancel_requested"]
        if task.state == TaskState.QUEUED:
            task.state, task.message = TaskState.CANCELLED.value, "cancelled before it began"
            task.ended = Now()
            task.locks.all().delete()
            fields += ["state", "message", "ended"]
        task.save(update_fields=fields)


def get(task_id: uuid.UUID) -> Task:
    """Raises NotFound."""
    task = Task.objects.select_related("requested_by").filter(pk=task_id).first()
    if task is None:
        raise NotFound(f"there is no task {task_id}")
    return task


def _wait(task_id: uuid.UUID, timeout: float, done: Callable[[Task, Task], bool]) -> Task:
    deadline = time.monotonic() + timeout
    with notices.watching([task_id]) as changed:
        task = first = get(task_id)
        while not done(task, first):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            changed.wait(min(left, RECHECK_INTERVAL))
            changed.clear()
            try:
                task = get(task_id)
            except (OperationalError, InterfaceError):  # its leader died; the task waits for the next one, and so do we
                connection.close()
    return task


def _seen(task: Task) -> tuple[object, ...]:
    return task.state, task.current, task.total, task.message


def _locked(task_id: uuid.UUID) -> Task:
    task = Task.objects.select_for_update(of=("self",)).filter(pk=task_id).first()
    if task is None:
        raise NotFound(f"there is no task {task_id}")
    return task


def _role(task: Task) -> Role:
    kind = Operation.registry.get(task.operation)  # None: it was accepted by another version
    return kind.role if kind else Role.ADMINISTRATOR


def _busy(locks: Sequence[str]) -> Busy:
    holder = TaskLock.objects.select_related("task").filter(what__in=locks).first()
    if holder is None:
        return Busy("another task worked on the same thing a moment ago; try again")
    task = holder.task
    return Busy(
        f"{task.subject or holder.what} is being worked on by task {task.id} ({task.operation}); "
        "try again when that has ended, or cancel it"
    )


def _audit(user: User | None, origin: str, action: str, task: Task) -> None:
    Audit.objects.create(
        user=user.username if user else "",
        origin=origin,
        action=action,
        subject=task.subject,
        arguments=redacted(task.arguments) if action == task.operation else {},
        task=task,
    )


def redacted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without secrets: those of telling names, and passwords within XML."""
    return {name: "***" if _SECRET_NAME.search(name) else _without_secrets(value) for name, value in arguments.items()}


def _without_secrets(value: Any) -> Any:
    return _SECRET_ATTRIBUTE.sub(r'\1"***"', value) if isinstance(value, str) else value
