"""Shapes of tasks in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pvc_core.model.task import TaskState
from pvc_web.api.schema import Document
from pvc_web.tasks.models import Task


class TaskError(Document):
    """Why a task did not succeed."""

    code: str
    message: str


class TaskDocument(Document):
    """A piece of work: what it is, how far it is, and how it ended."""

    state: str
    status: str
    current: int
    total: int
    task_id: str
    task_name: str
    run_on: str
    requested_by: str
    subject: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    duration: float | None
    attempt: int
    cancel_requested: bool
    parent: str | None
    result: dict[str, Any] | None
    error: TaskError | None
    left: tuple[str, ...]
    id: str  # these two as Celery's own listing names them
    name: str


class TaskListDocument(Document):
    """What runs and waits, by node, and the newest of all tasks; ``total`` counts those that fit the filter."""

    active: dict[str, list[TaskDocument]]
    reserved: dict[str, list[TaskDocument]]
    scheduled: dict[str, list[TaskDocument]]
    tasks: list[TaskDocument]
    total: int


def task_document(task: Task) -> TaskDocument:
    """``duration`` is in seconds, of a task that is over."""
    took = (task.ended - task.started).total_seconds() if task.started and task.ended else None
    return TaskDocument(
        state=task.celery_state,
        status=task.message,
        current=task.current,
        total=task.total,
        task_id=str(task.id),
        task_name=task.operation,
        run_on=task.run_on,
        requested_by=task.requester,
        subject=task.subject,
        created=task.created,
        started=task.started,
        ended=task.ended,
        duration=took,
        attempt=task.attempt,
        cancel_requested=task.cancel_requested,
        parent=str(task.parent_id) if task.parent_id else None,
        result=task.result,
        error=TaskError(code=task.error_code, message=task.message) if task.failed else None,
        left=tuple(task.left),
        id=str(task.id),
        name=task.operation,
    )


def by_node(tasks: list[Task], state: TaskState) -> dict[str, list[TaskDocument]]:
    """The tasks of one state under the names of the nodes that run them, or are to."""
    found: dict[str, list[TaskDocument]] = {}
    for task in tasks:
        if task.state == state:
            found.setdefault(task.run_on, []).append(task_document(task))
    return found
