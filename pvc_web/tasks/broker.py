"""Sending tasks to the workers: a message carries the id of the task's record, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError

from pvc_web.tasks.models import Task

log = logging.getLogger(__name__)

app = Celery("pvc", fixups=[])  # the fixup for Django closes connections that the worker means to keep
app.config_from_object("django.conf:settings", namespace="CELERY")


def send(tasks: Iterable[Task]) -> None:
    """Give the tasks to their queues. What cannot be sent now is sent by the reaper when Redis answers again."""
    for task in tasks:
        try:
            app.send_task(
                task.operation,
                args=(str(task.id),),
                task_id=str(task.id),
                queue=task.queue,
                retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
            )
        except OperationalError as error:
            log.warning("task %s could not be sent and waits in the database: %s", task.id, error)
            return
