"""Tasks and audit entries that are old enough go: a mirror of one minute alone makes half a million tasks a year."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from pvc_core.config import HistoryConfig
from pvc_core.model.task import TaskState
from pvc_core.ops.autobackup import VmAutobackup
from pvc_web.tasks.models import Audit, Task

log = logging.getLogger(__name__)

INTERVAL = 3600.0  # seconds between two looks that found nothing more
BATCH = 1000  # rows that go in one look, so that schedules are not kept waiting

# A task goes after its children, and stays while it is the last backup of its machine by its schedule: that is shown.
_OLD = f"""
SELECT id FROM tasks_task AS old
WHERE created < now() - %s AND state NOT IN ('{TaskState.QUEUED}', '{TaskState.RUNNING}')
    AND NOT EXISTS (SELECT FROM tasks_task WHERE parent_id = old.id)
    AND (operation <> '{VmAutobackup.task_name}' OR state <> '{TaskState.SUCCEEDED}' OR EXISTS (
        SELECT FROM tasks_task AS newer
        WHERE newer.operation = '{VmAutobackup.task_name}' AND newer.state = '{TaskState.SUCCEEDED}'
            AND newer.arguments ->> 'vm' = old.arguments ->> 'vm'
            AND newer.arguments ->> 'schedule' = old.arguments ->> 'schedule' AND newer.ended > old.ended))
ORDER BY created LIMIT {BATCH}
"""


class Pruner:
    def __init__(self, config: HistoryConfig) -> None:
        self._config = config
        self._due = float("-inf")

    def look(self) -> None:
        """Remove some of what is too old, when it is time for that. Raises the database's errors."""
        if time.monotonic() < self._due:
            return
        removed = 0
        if self._config.keep_tasks:
            removed += _remove(Task.objects.filter(pk__in=_old_tasks(timedelta(days=self._config.keep_tasks))))
        if self._config.keep_audit:
            old = Audit.objects.filter(at__lt=Now() - timedelta(days=self._config.keep_audit)).order_by("at")
            removed += _remove(Audit.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH])))
        if removed:
            log.info("%d old tasks and audit entries are removed", removed)
        else:
            self._due = time.monotonic() + INTERVAL


def _old_tasks(age: timedelta) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [age])
        return [row[0] for row in cursor]


def _remove(rows: QuerySet[Task] | QuerySet[Audit]) -> int:
    return rows.delete()[1].get(rows.model._meta.label, 0)
