"""Looking at tasks, waiting for them, cancelling them."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import NotFound
from pvc_core.model.task import Role, TaskState
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, reads
from pvc_web.api.schema import TaskMessage
from pvc_web.tasks import service
from pvc_web.tasks.documents import TaskDocument, TaskListDocument, by_node, task_document
from pvc_web.tasks.models import CELERY_NAMES, Task
from pvc_web.tasks.serializers import TaskListParameters, TaskParameters

STATES = {name: state for state, name in CELERY_NAMES.items()}


class TaskList(ApiView):
    @reads(TaskListDocument, "What runs and waits, and the newest tasks", takes=TaskListParameters)
    def get(self, request: Request, *, parameters: dict[str, Any]) -> HttpResponse:
        tasks = Task.objects.select_related("requested_by")
        unfinished = list(tasks.unfinished())
        chosen = tasks.filter(state=STATES[parameters["state"]]) if parameters["state"] else tasks
        first = parameters["offset"]
        document = TaskListDocument(
            active=by_node(unfinished, TaskState.RUNNING),
            reserved=by_node(unfinished, TaskState.QUEUED),
            scheduled={},
            tasks=[task_document(task) for task in chosen[first : first + parameters["limit"]]],
            total=chosen.count(),
        )
        return json_answer(document)


class TaskDetail(ApiView):
    @reads(TaskDocument, "A task, at once or at its next change", takes=TaskParameters)
    def get(self, request: Request, *, task: str, parameters: dict[str, Any]) -> HttpResponse:
        return json_answer(task_document(service.wait_change(_task_id(task), parameters["wait"])))

    @acts(TaskMessage, Role.OPERATOR, summary="Cancel a task: at once, or at its next step")
    def delete(self, request: Request, *, task: str) -> HttpResponse:
        found = service.cancel(_task_id(task), request.user, origin=request.META["REMOTE_ADDR"])
        what = "was cancelled" if found.over else "stops at its next step and undoes what it did"
        message = f"task {found.id} {what}"
        return json_answer(TaskMessage(message=message, task_id=task, task_name=found.operation, run_on=found.run_on))


def _task_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound(f"there is no task {text!r}; the id of a task is a UUID") from None
