"""What PostgreSQL knows and ZooKeeper does not: tasks, and which backups were made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from django.db import connection
from django.db.models import Count, Q
from django.db.models.functions import Now

from pvc_core.model.backup import BackupPlan
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import TaskState
from pvc_core.ops.autobackup import VmAutobackup
from pvc_core.ops.planned import machines_of
from pvc_web.schedules.models import BackupSchedule
from pvc_web.tasks.models import Task

FAILURES_FOR = timedelta(days=1)

# One look into the index ``tasks_backups`` for each machine, however many backups there have been.
_LAST_BACKUPS = f"""
SELECT coalesce((
    SELECT extract(epoch FROM ended)::float FROM tasks_task
    WHERE operation = '{VmAutobackup.task_name}' AND state = '{TaskState.SUCCEEDED}'
        AND arguments ->> 'vm' = wanted.vm AND arguments ->> 'schedule' = wanted.schedule
    ORDER BY ended DESC LIMIT 1), 0)
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (vm, schedule, place) ORDER BY place
"""

_COUNTED = (TaskState.QUEUED, TaskState.RUNNING, TaskState.FAILED)


def task_counts() -> Mapping[str, int]:
    """How many tasks wait, run, and have failed of late, by state."""
    failed = Q(state=TaskState.FAILED, ended__gt=Now() - FAILURES_FOR)
    counts = Task.objects.filter(Q(state__in=_COUNTED[:2]) | failed).order_by().values_list("state")
    return dict.fromkeys(_COUNTED, 0) | dict(counts.annotate(Count("pk")))


def last_backups(snapshot: ClusterSnapshot) -> Mapping[tuple[str, str], float]:
    """When the last backup of each machine by each schedule that is on was complete, in seconds since the epoch, by
    the names of machine and schedule; 0 where there is none."""
    schedules = BackupSchedule.objects.filter(enabled=True)
    plans = [BackupPlan(each.name, each.target, tuple(each.tags), tuple(each.vms)) for each in schedules]
    wanted = [(entry.vm, plan.name) for plan in plans for entry in machines_of(snapshot, plan)[0]]
    with connection.cursor() as cursor:
        cursor.execute(_LAST_BACKUPS, [[vm.uuid for vm, _ in wanted], [schedule for _, schedule in wanted]])
        return {(vm.name, schedule): ended for (vm, schedule), (ended,) in zip(wanted, cursor, strict=True)}
