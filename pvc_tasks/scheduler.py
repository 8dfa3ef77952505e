"""What is to be done at set times: kept in the database, edited in the admin, sent like any other work."""

from __future__ import annotations

import logging
from typing import Any

from django_celery_beat.models import PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from pvc_core.errors import Refused
from pvc_core.ops.base import build
from pvc_web.tasks import service

log = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):
    """A periodic task names an operation, with its arguments as keyword arguments. Only administrators make those."""

    producer = None  # messages go through the service, which needs no connection of the scheduler's own

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if PeriodicTasks.last_change() is None:  # without a moment to compare it with, the first change goes unnoticed
            PeriodicTasks.update_changed()
        self._finalize.cancel()  # the leader calls ``close`` at the end of its term, not Python at its own

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:  # noqa: ARG002
        if advance:
            entry = self.reserve(entry)
        try:
            task = service.submit(build(entry.task, entry.kwargs), None, origin=f"schedule {entry.name}"[:64])
        except Refused as error:
            log.warning("schedule %s: %s was refused: %s", entry.name, entry.task, error)
        else:
            log.info("schedule %s: task %s (%s)", entry.name, task.id, task)
