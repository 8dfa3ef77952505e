"""From a request to a task, and from the task to the answer."""

from __future__ import annotations

from typing import cast

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.model.task import TaskState
from pvc_core.ops.base import Operation
from pvc_web.accounts.models import User
from pvc_web.api.answers import json_answer
from pvc_web.api.schema import ErrorMessage, TaskMessage
from pvc_web.config import cluster
from pvc_web.tasks import service
from pvc_web.tasks.models import Task

WAIT_LIMIT = 60.0  # seconds after which the answer is that the task goes on


def respond(request: Request, operation: Operation, *, wait: bool = True, status: int = 200) -> HttpResponse:
    """Send the operation as a task, and answer as documented: see ``answer``."""
    return answer(request, send(request, operation), wait=wait, status=status)


def send(request: Request, operation: Operation) -> Task:
    """Send the operation as a task of the caller. Raises Refused with nothing changed."""
    cluster.view().settle()  # the check is made against all that was done before, by any process
    return service.submit(operation, cast(User, request.user), origin=request.META.get("REMOTE_ADDR", ""))


def answer(request: Request, task: Task, *, wait: bool, status: int) -> HttpResponse:
    """``status`` is 202 for a call that never waits. For the others, ``wait`` says whether the answer is the task's
    outcome (its message, or its error with that error's status; 202 when it takes longer than WAIT_LIMIT) or 200 at
    once. A caller that prefers to be answered at once gets 202 in every case.
    """
    if status == 202 or _prefers_async(request):
        return _accepted(task, 202)
    return _outcome(task) if wait else _accepted(task, 200)


def _outcome(task: Task) -> HttpResponse:
    """Wait for the task's end and answer with it."""
    task = service.wait(task.id, WAIT_LIMIT)
    if not task.over:
        return _accepted(task, 202)
    if task.state != TaskState.SUCCEEDED:
        error = ErrorMessage(
            message=task.message,
            code=task.error_code or "failed",
            left=tuple(task.left),
            task_id=str(task.id),
            task_name=task.operation,
            run_on=task.run_on,
        )
        return json_answer(error, task.error_status)
    cluster.view().settle()  # so that a following GET shows what was done
    return _message(task, (task.result or {}).get("message") or task.message, 200)


def _accepted(task: Task, status: int) -> HttpResponse:
    summary = Operation.registry[task.operation].summary
    return _message(task, f"{summary}: accepted as task {task.id}", status)


def _message(task: Task, message: str, status: int) -> HttpResponse:
    document = TaskMessage(message=message, task_id=str(task.id), task_name=task.operation, run_on=task.run_on)
    return json_answer(document, status)


def _prefers_async(request: Request) -> bool:
    """RFC 7240: the header ``Prefer: respond-async``."""
    preferences = request.headers.get("Prefer", "").split(",")
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)
