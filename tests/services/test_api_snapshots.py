"""A machine's snapshots over the API: how they are shown, and what is sent for them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.model.vm_snapshot import Purpose, Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from pvc_web.tasks.models import Task
from tests.services import world
from tests.services.world import GIB

PATH = "/api/v1/vm/db/snapshot"


def add_snapshot(state: ClusterState, name: str, *, age: float, xml: str, **changes: Any) -> None:
    """One of the stopped machine."""
    disks = (SnapshotDisk("vms/db_disk0", 4 * GIB), SnapshotDisk("vms/db_log", GIB))
    taken = replace(VmSnapshot(world.DB, name, time.time() - age, Quiesced.PAUSED, disks), **changes)
    state.store.ensure(records.vm_snapshots(world.DB))
    transaction = state.transaction()
    transaction.create(records.vm_snapshot(world.DB, name), taken)
    transaction.create(records.vm_snapshot_config(world.DB, name), VmConfig("db", xml))
    transaction.commit()
    connections.view().settle()


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An administrator's, of a populated cluster whose stopped machine has two snapshots."""
    world.populate(cluster)
    add_snapshot(cluster, "old", age=86400, xml=world.STOPPED.xml.replace(">2048<", ">512<"))
    add_snapshot(cluster, "new", age=60, xml=world.STOPPED.xml, quiesced=Quiesced.GUEST, purpose=Purpose.BACKUP)
    return api(Role.ADMINISTRATOR)


def test_snapshots_are_shown_with_what_changed_since(client: APIClient) -> None:
    new, old = client.get(PATH).json()
    assert (new["name"], new["quiesced"], new["purpose"], new["xml_diff_lines"]) == ("new", "guest", "backup", [])
    assert 60 <= int(new["age"]) < 120
    assert 86400 <= time.time() - int(old.pop("timestamp")) < 86460
    assert 86400 <= int(old.pop("age")) < 86460
    difference = old.pop("xml_diff_lines")
    assert difference[:2] == ["--- current", "+++ old"]
    assert [line.strip() for line in difference if re.match(r"[+-] ", line)] == [
        '-  <memory unit="MiB">2048</memory>',
        '+  <memory unit="MiB">512</memory>',
    ]
    assert old == {
        "name": "old",
        "rbd_snapshots": ["vms/db_disk0@old", "vms/db_log@old"],
        "size": 5 * GIB,
        "quiesced": "paused",
        "purpose": "user",
    }


def test_a_machine_is_shown_with_its_snapshots(client: APIClient) -> None:
    assert client.get("/api/v1/vm/db").json()["snapshots"] == client.get(PATH).json()
    (listed,) = client.get("/api/v1/vm?limit=db").json()
    assert [snapshot["name"] for snapshot in listed["snapshots"]] == ["new", "old"]


def test_another_snapshot_of_the_same_name_has_its_own_configuration(client: APIClient, cluster: ClusterState) -> None:
    assert client.get(PATH).json()[0]["xml_diff_lines"] == []
    for key in (records.vm_snapshot_config(world.DB, "new"), records.vm_snapshot(world.DB, "new")):
        cluster.transaction().delete(cluster.get(key)).commit()
    add_snapshot(cluster, "new", age=1, xml="<domain/>")
    assert client.get(PATH).json()[0]["xml_diff_lines"]


@pytest.mark.parametrize(
    ("method", "path", "arguments", "name", "expected"),
    [
        ("post", "", {"snapshot_name": "third"}, "vm.snapshot.create", {"name": "third", "purpose": "user"}),
        ("delete", "", {"snapshot_name": "old"}, "vm.snapshot.remove", {"name": "old"}),
        ("post", "/rollback", {"snapshot_name": "old"}, "vm.snapshot.rollback", {"name": "old", "keep_config": False}),
        (
            "post",
            "/rollback",
            {"snapshot_name": "old", "keep_config": "yes"},
            "vm.snapshot.rollback",
            {"name": "old", "keep_config": True},
        ),
    ],
)
def test_what_is_sent(
    client: APIClient,
    cluster: ClusterState,
    method: str,
    path: str,
    arguments: dict[str, str],
    name: str,
    expected: dict[str, Any],
) -> None:
    cluster.transaction().create(records.volume("vms", "db_log"), world.volume("db_log")).commit()
    query = "&".join(f"{key}={value}" for key, value in arguments.items())
    answer = getattr(client, method)(f"{PATH}{path}?{query}")
    assert answer.status_code == 202, answer.content
    task = Task.objects.get()
    assert json.loads(answer.content)["task_id"] == str(task.id)
    assert (task.operation, task.arguments) == (name, {"vm": world.DB, **expected})


def test_the_snapshot_to_remove_may_be_named_in_a_form(client: APIClient) -> None:
    answer = client.delete(PATH, "snapshot_name=old", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 202, answer.content
    assert Task.objects.get().arguments["name"] == "old"


def test_a_snapshot_without_a_name_is_called_by_the_time(client: APIClient) -> None:
    assert client.post(PATH).status_code == 202
    assert re.fullmatch(r"20\d{12}", Task.objects.get().arguments["name"])


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("post", "?snapshot_name=old", 409, "has a snapshot 'old' already"),
        ("post", "?snapshot_name=a/b", 400, "cannot be the name of a snapshot"),
        ("delete", "?snapshot_name=none", 404, "it has new, old"),
        ("delete", "", 400, "snapshot_name"),
        ("post", "/rollback?snapshot_name=none", 404, "it has new, old"),
        ("post", "/rollback?snapshot_name=old", 409, "vms/db_log, which is part of the snapshot, does not exist"),
    ],
)
def test_what_is_refused_changes_nothing(client: APIClient, method: str, path: str, status: int, message: str) -> None:
    answer = getattr(client, method)(PATH + path)
    assert answer.status_code == status, answer.content
    assert message in answer.json()["message"]
    assert not Task.objects.exists()
