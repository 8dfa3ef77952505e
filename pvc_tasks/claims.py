"""Who owns a task. A worker claims it by one conditional update, and every later write of it is conditional on that
claim, so that a task runs once though its message is delivered twice."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from pvc_core.model.task import TaskState
from pvc_core.ops.base import Operation
from pvc_web.tasks import broker
from pvc_web.tasks.models import Task, TaskLock

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
WORKER_LOST = "worker_lost"


@dataclass(frozen=True)
class Ending:
    """How a task ended. ``message`` is the sentence a person reads, ``left`` what could not be undone."""

    state: TaskState
    message: str
    code: str = ""
    left: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None


def claim(task_id: uuid.UUID, worker: str, token: uuid.UUID) -> Task | None:
    """Begin a queued task. None when it is not queued: another worker has it, or it is over. With the same ``token``,
    a fresh one, it may be called again when its answer was lost."""
    Task.objects.filter(pk=task_id, state=TaskState.QUEUED).update(
        state=TaskState.RUNNING,
        claim=token,
        worker=worker,
        heartbeat=Now(),
        started=Coalesce("started", Now()),
        attempt=F("attempt") + 1,
        undoable=[],
    )
    return Task.objects.select_related("requested_by").filter(pk=task_id, claim=token).first()


def beat(claims: list[uuid.UUID]) -> dict[uuid.UUID, bool]:
    """Renew the claims in one statement. Those that still stand, each with whether cancelling was asked for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tasks_task SET heartbeat = statement_timestamp() WHERE claim = ANY(%s) "
            "RETURNING claim, cancel_requested",
            [claims],
        )
        return dict(cursor.fetchall())


def update(task: Task, **fields: Any) -> bool:
    """Write to a task that is ours; False when it no longer is."""
    return bool(Task.objects.filter(pk=task.pk, claim=task.claim).update(**fields))


def finish(task: Task, ending: Ending) -> bool:
    """Record the end and give the locks back; False, with nothing written, when the task is no longer ours."""
    with transaction.atomic():
        fields: dict[str, Any] = {"current": F("total")} if ending.state is TaskState.SUCCEEDED else {}
        ours = update(
            task,
            state=ending.state,
            message=ending.message,
            error_code=ending.code,
            left=list(ending.left),
            result=ending.result,
            ended=Now(),
            heartbeat=None,
            claim=None,
            **fields,
        )
        if ours:
            TaskLock.objects.filter(task=task).delete()
    return ours


def finish_queued(task: Task, ending: Ending) -> bool:
    """End a task that nobody has begun; False when somebody has by now."""
    with transaction.atomic():
        queued = Task.objects.filter(pk=task.pk, state=TaskState.QUEUED).update(
            state=ending.state,
            message=ending.message,
            error_code=ending.code,
            left=list(ending.left),
            ended=Now(),
        )
        if queued:
            TaskLock.objects.filter(task=task).delete()
    return bool(queued)


def give_back(task: Task, why: str, *, counted: bool = True) -> bool:
    """Queue a task that is ours once more; it keeps its locks. An attempt that is not ``counted`` is free."""
    with transaction.atomic():
        ours = update(
            task,
            state=TaskState.QUEUED,
            message=why,
            heartbeat=None,
            claim=None,
            worker="",
            sent=Now(),
            attempt=F("attempt") if counted else F("attempt") - 1,
        )
        if ours:
            transaction.on_commit(lambda: broker.send([task]))
    return ours


def take_from_dead(task: Task, why: str) -> None:
    """Settle a task whose worker is gone: it is resumed where that is safe, and fails with a clear list where not."""
    kind = Operation.registry.get(task.operation)
    resumable = kind is not None and kind.resumable and not task.cancel_requested
    if resumable and task.attempt < MAX_ATTEMPTS:
        if give_back(task, f"{why}: begun again"):
            log.warning("task %s (%s): running => queued: %s", task.id, task, why)
        return
    left = tuple(task.undoable)
    step = f" during the step {task.message!r}, which may be half done" if task.message else ""
    ending = Ending(TaskState.FAILED, f"{why}{step}", code=WORKER_LOST, left=left)
    if finish(task, ending):
        log.warning("task %s (%s): running => failed: %s", task.id, task, why)
