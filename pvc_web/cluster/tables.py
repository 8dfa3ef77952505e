"""The database's part of a backup: which tables, their rows, and putting them in the place of the present ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core import serializers
from django.core.management.color import no_style
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import ForeignKey, Model
from django_celery_beat.models import PeriodicTasks

from pvc_core.errors import BadRequest, Busy

# What is not configuration; everything else is in a backup.
LEFT_OUT = {
    "tasks.Task": "what was done here",
    "tasks.TaskLock": "of tasks that run",
    "tasks.Audit": "who asked for what here; nothing ever changes it",
    "admin.LogEntry": "the same, of the admin's pages",
    "schedules.RestoreTestResult": "what a test found here",
    "storage.BenchmarkRun": "what was measured here",
    "sessions.Session": "who is logged in now",
    "contenttypes.ContentType": "Django makes these itself",
    "auth.Permission": "the same; users have roles",
    "auth.Group": "not used: users have roles",
    "django_celery_beat.PeriodicTasks": "when the schedules changed last; touched at a restore",
}
LOCK_TIMEOUT = "5s"  # how long a restore waits for those that write tasks


def kept() -> list[type[Model]]:
    """The models whose rows are in a backup."""
    return [model for model in apps.get_models() if model._meta.label not in LEFT_OUT]


def dump() -> list[dict[str, Any]]:
    """All rows. To be called in a transaction that sees one moment."""
    rows: list[dict[str, Any]] = []
    for model in kept():
        rows += json.loads(serializers.serialize("json", model._default_manager.order_by("pk")))
    return rows


def migrations() -> dict[str, tuple[str, ...]]:
    """Names of the migrations that each app's tables have been through."""
    labels = {model._meta.app_label for model in kept()}
    applied = MigrationLoader(connection).applied_migrations
    return {label: tuple(sorted(name for app, name in applied if app == label)) for label in sorted(labels)}


def check_migrations(other: dict[str, tuple[str, ...]]) -> None:
    """Raise BadRequest for a backup of tables that this version does not know yet."""
    known = migrations()
    for app, names in other.items():
        newer = sorted(set(names) - set(known.get(app, ())))
        if newer:
            raise BadRequest(
                f"the backup was made by a newer version of PVC: its tables of {app} have {newer[-1]}, which this one "
                "does not know"
            )


def freeze_tasks() -> None:
    """Let nobody accept, begin or end a task until the present transaction ends. Raises Busy when somebody is at it for
    too long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        try:
            cursor.execute("LOCK TABLE tasks_task, tasks_tasklock IN SHARE ROW EXCLUSIVE MODE")
        except OperationalError:
            raise Busy("the tasks are being written without a pause; try again in a moment") from None


def replace(rows: Iterable[dict[str, Any]]) -> None:
    """Put ``rows`` in the place of all rows of the tables that a backup has, within the present transaction. Raises
    BadRequest naming what does not fit. References to rows that are gone become empty, or go with them."""
    tables = kept()
    try:
        found = list(serializers.deserialize("json", json.dumps(list(rows))))
    except (serializers.base.DeserializationError, ValueError, TypeError, KeyError) as error:
        raise BadRequest(f"the backup's rows do not fit the tables of this version: {error}") from None
    for item in found:
        if type(item.object) not in tables:
            raise BadRequest(f"the backup has rows of {item.object._meta.label}, which belong into none")
    try:
        for model in tables:
            model._base_manager.all()._raw_delete(connection.alias)  # references are checked in the end
        for item in found:
            item.save(force_insert=True)
        _mend_references(tables)
        _continue_sequences(tables)
        connection.check_constraints()
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        raise BadRequest(f"the backup's rows contradict each other: {reason}") from None
    PeriodicTasks.update_changed()


def _mend_references(tables: list[type[Model]]) -> None:
    for model in apps.get_models():
        if model in tables:
            continue
        for field in model._meta.get_fields():
            if isinstance(field, ForeignKey) and field.related_model in tables:
                gone = model._base_manager.exclude(**{field.name: None}).exclude(
                    **{f"{field.attname}__in": field.related_model._base_manager.values("pk")}
                )
                if field.null:
                    gone.update(**{field.name: None})
                else:
                    gone.delete()


def _continue_sequences(tables: list[type[Model]]) -> None:
    """New rows are numbered after the greatest number that was restored."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), tables):
            cursor.execute(statement)
