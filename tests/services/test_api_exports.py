"""From a request to the task of an export, an import or a backup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmSnapshot
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.tasks.models import Task
from tests.services import world

API = "/api/v1"
ASYNC = {"HTTP_PREFER": "respond-async"}


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An administrator's, of a cluster where the machine ``web`` has two snapshots."""
    world.populate(cluster)
    cluster.store.ensure(records.vm_snapshots(world.WEB))
    for created, name in enumerate(("s1", "s2"), 1):
        taken = VmSnapshot(world.WEB, name, created, Quiesced.OFF, (SnapshotDisk("vms/web_disk0", 1 << 30),))
        cluster.transaction().create(records.vm_snapshot(world.WEB, name), taken).commit()
    return api(Role.ADMINISTRATOR)


@pytest.mark.parametrize(
    ("method", "path", "arguments", "operation", "expected"),
    [
        (
            "post",
            "/vm/web/snapshot/export",
            {"snapshot_name": "s2", "export_path": "/srv/b", "incremental_parent": "s1"},
            "vm.snapshot.export",
            {"vm": world.WEB, "snapshot": "s2", "path": "/srv/b", "parent": "s1", "node": "node1", "verify": False},
        ),
        (
            "post",
            "/vm/web/snapshot/export",
            {"snapshot_name": "s1", "export_path": "/srv/b", "node": "node2", "verify": "yes"},
            "vm.snapshot.export",
            {"parent": "", "node": "node2", "verify": True},
        ),
        (
            "post",
            "/vm/new/snapshot/import",
            {"snapshot_name": "s1", "import_path": "/srv/b"},
            "vm.snapshot.import",
            {"vm": "new", "snapshot": "s1", "path": "/srv/b", "retain_snapshot": True, "node": "node1"},
        ),
        (
            "post",
            "/vm/web/backup",
            {"backup_path": "/srv/b", "incremental_parent": "s1", "retain_snapshot": "true"},
            "vm.backup.create",
            {"vm": world.WEB, "path": "/srv/b", "parent": "s1", "retain_snapshot": True, "node": "node1"},
        ),
        (
            "delete",
            "/vm/gone/backup",
            {"backup_path": "/srv/b", "backup_datestring": "20260101000000"},
            "vm.backup.remove",
            {"vm": "gone", "name": "20260101000000", "path": "/srv/b", "node": "node1"},
        ),
        (
            "post",
            "/vm/gone/restore",
            {"backup_path": "/srv/b", "backup_datestring": "20260101000000", "retain_snapshot": "false"},
            "vm.restore",
            {"vm": "gone", "snapshot": "20260101000000", "retain_snapshot": False, "node": "node1"},
        ),
    ],
)
def test_a_request_becomes_a_task_on_the_node_whose_directory_is_meant(
    client: APIClient, method: str, path: str, arguments: dict[str, Any], operation: str, expected: dict[str, Any]
) -> None:
    answer = getattr(client, method)(API + path, arguments, **ASYNC)
    assert answer.status_code == 202, answer.content
    task = Task.objects.get()
    assert task.operation == operation
    assert task.arguments | expected == task.arguments
    assert task.lane == "bulk"
    assert task.run_on == expected["node"]


def test_a_backups_name_is_the_time(client: APIClient) -> None:
    client.post(f"{API}/vm/web/backup", {"backup_path": "/srv/b"}, **ASYNC)
    assert re.fullmatch(r"20\d{12}", Task.objects.get().arguments["name"])


@pytest.mark.parametrize(
    ("path", "arguments", "status", "message"),
    [
        ("/vm/web/snapshot/export", {"snapshot_name": "s9", "export_path": "/b"}, 404, "has no snapshot 's9'"),
        ("/vm/none/snapshot/export", {"snapshot_name": "s1", "export_path": "/b"}, 404, "there is no VM 'none'"),
        ("/vm/web/snapshot/export", {"snapshot_name": "s1"}, 400, "export_path"),
        (
            "/vm/web/snapshot/export",
            {"snapshot_name": "s1", "export_path": "/b", "incremental_parent": "s2"},
            409,
            "snapshot 's2' is not older than 's1'",
        ),
        (
            "/vm/web/snapshot/export",
            {"snapshot_name": "s1", "export_path": "/b", "node": "node9"},
            404,
            "there is no node 'node9'",
        ),
        ("/vm/web/snapshot/import", {"snapshot_name": "s1", "import_path": "/b"}, 409, "there is a VM web already"),
        ("/vm/web/restore", {"backup_path": "/b", "backup_datestring": "1"}, 409, "there is a VM web already"),
        ("/vm/..%2F/restore", {"backup_path": "/b", "backup_datestring": "1"}, 404, ""),
        ("/vm/a b/restore", {"backup_path": "/b", "backup_datestring": "1"}, 400, "cannot be the name of a VM"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    client: APIClient, path: str, arguments: dict[str, Any], status: int, message: str
) -> None:
    answer = client.post(API + path, arguments, **ASYNC)
    assert answer.status_code == status, answer.content
    assert message in (json.loads(answer.content)["message"] if message else "")
    assert not Task.objects.exists()
