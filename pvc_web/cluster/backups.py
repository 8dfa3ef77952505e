"""Backing up the configuration of a cluster, and restoring it: see docs/design/cluster-backup.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from django.db import connection, transaction
from rest_framework.request import Request

from pvc_core import __version__
from pvc_core.errors import BadRequest, Busy, Conflict
from pvc_core.model.configuration import Configuration
from pvc_core.ops.base import Operation
from pvc_core.ops.cluster_restore import ClusterInitialize, ClusterRestore, pack
from pvc_core.rules.restore import obstacles
from pvc_core.state import dump
from pvc_web.accounts.models import User
from pvc_web.cluster import tables
from pvc_web.config import cluster
from pvc_web.tasks import service
from pvc_web.tasks.models import Audit, Task

SHOWN = 5  # of many obstacles, so many are named


def back_up(request: Request) -> dict[str, Any]:
    """The document. It has the hashes of passwords and tokens in it, and the tokens for other clusters."""
    storage = cluster.view().snapshot().storage
    configuration = dump.read(cluster.state())
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        backup = dump.Backup(
            configuration=configuration,
            rows=tuple(tables.dump()),
            migrations=tables.migrations(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cluster=storage.fsid if storage else "",
            release=__version__,
        )
    user, origin = _caller(request)
    Audit.objects.create(user=user.username, origin=origin, action="cluster.backup")
    return dump.seal(backup)


def restore(request: Request, text: str) -> Task:
    """Decide for the backup, with the rows of the database in one transaction; the task does the rest. Raises
    BadRequest for a file that cannot be restored, Conflict or Busy when it must not be now; then nothing was changed.
    """
    backup = dump.unseal(text)
    tables.check_migrations(dict(backup.migrations))
    with transaction.atomic():
        _clear_way(backup.configuration)
        task = _submit(request, ClusterRestore(pack(backup.configuration)))
        tables.replace(backup.rows)
    return task


def initialize(request: Request, *, overwrite: bool) -> Task:
    """Erase the configuration; the database is left as it is. Raises BadRequest when there is more than nodes and
    ``overwrite`` is not given, Conflict when machines run."""
    with transaction.atomic():
        if not overwrite and replace(dump.read(cluster.state()), nodes={}) != Configuration():
            raise BadRequest("this cluster has a configuration already; it is erased with overwrite=true only")
        _clear_way(Configuration())
        return _submit(request, ClusterInitialize())


def _clear_way(wanted: Configuration) -> None:
    """Keep tasks out until the present transaction ends, and raise Conflict or Busy when anything is under way that
    contradicts the configuration."""
    tables.freeze_tasks()
    running = Task.objects.unfinished().first()
    if running is not None:
        raise Busy(f"task {running.id} ({running}) is not over; wait for it or cancel it, and try again")
    cluster.view().settle()
    if found := list(obstacles(cluster.view().snapshot(), wanted)):
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Conflict("; ".join(found[:SHOWN]) + more)


def _submit(request: Request, operation: Operation) -> Task:
    user, origin = _caller(request)
    return service.submit(operation, user, origin=origin)


def _caller(request: Request) -> tuple[User, str]:
    return cast(User, request.user), request.META.get("REMOTE_ADDR", "")
