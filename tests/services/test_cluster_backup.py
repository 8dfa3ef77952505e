"""The configuration goes into one file and comes back from it: all of it, or nothing."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpResponse
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from rest_framework.test import APIClient

from pvc_core.model.configuration import Configuration
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.task import Role, TaskState
from pvc_core.model.vm import Tag, Vm, VmState
from pvc_core.ops.cluster import ClusterMaintenance
from pvc_core.state import dump, records
from pvc_core.state.cluster import ClusterState
from pvc_web.accounts.models import Token, User
from pvc_web.cluster import tables
from pvc_web.config import cluster as connections
from pvc_web.peers.models import Peer
from pvc_web.tasks import service
from pvc_web.tasks.models import Audit, Task, TaskLock
from tests.records import define
from tests.services import world
from tests.services.processes import Workers, until

SURE = {"yes-i-really-mean-it": "yes"}


@pytest.fixture
def admin(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An administrator of a cluster with machines, other users, a schedule and a peer."""
    client = api(Role.ADMINISTRATOR)
    world.populate(cluster)
    User.objects.create_user("ada", "a long password", Role.OPERATOR)
    Peer.objects.create(name="west", api_uri="https://west", token="secret-of-west")
    crontab = CrontabSchedule.objects.create(hour="3")
    PeriodicTask.objects.create(name="nightly", task="cluster.maintenance", crontab=crontab)
    return client


def back_up(client: APIClient) -> dict[str, Any]:
    answer = client.get("/api/v1/backup")
    assert answer.status_code == 200, answer.content
    return dict(json.loads(answer.content))


def restore(client: APIClient, document: object, **headers: str) -> HttpResponse:
    text = document if isinstance(document, str) else json.dumps(document, indent=1)
    answer: HttpResponse = client.post("/api/v1/restore", SURE | {"cluster_data": text}, format="json", headers=headers)
    return answer


def resealed(document: dict[str, Any], **changes: Any) -> str:
    """The document with changes, as if it had been made so."""
    rest = {name: value for name, value in (document | changes).items() if name != "digest"}
    return json.dumps(rest | {"digest": dump._digest(rest)})


def picture(state: ClusterState) -> tuple[Configuration, list[dict[str, Any]]]:
    """All that is configured; when tokens were used last is none of it."""
    rows = tables.dump()
    for row in rows:
        row["fields"].pop("last_used", None)
    return dump.read(state), rows


def change_everything(state: ClusterState) -> None:
    User.objects.filter(username="ada").delete()
    User.objects.create_user("eve", "another password", Role.ADMINISTRATOR)
    Peer.objects.update(token="stolen")
    PeriodicTask.objects.all().delete()
    state.put(records.network(100), Network(100, "renamed", NetworkType.BRIDGED))
    state.put(records.network(200), Network(200, "new", NetworkType.BRIDGED))
    state.put(records.vm(world.DB), replace(state.get(records.vm(world.DB)).value, name="base", state=VmState.DISABLE))
    state.put(records.vm_name("base"), records.Name(world.DB))
    state.transaction().delete(state.get(records.vm_name("db"))).commit()
    added = Vm(str(uuid.uuid4()), "new", VmState.STOP, "node1", tags=(Tag("x"),))
    define(state, added, "<domain/>")
    connections.view().settle()


def test_everything_comes_back(admin: APIClient, workers: Workers, cluster: ClusterState) -> None:
    workers.start("control")
    before = picture(cluster)
    document = back_up(admin)
    change_everything(cluster)
    assert picture(cluster) != before
    long = json.dumps(document) + " " * (5 << 20)  # as that of many machines is
    answer = restore(admin, long)
    assert answer.status_code == 200, answer.content
    assert picture(cluster) == before
    assert cluster.store.children(records.VM_NAMES) == ["db", "web"]
    assert User.objects.get(username="ada").check_password("a long password")
    assert User.objects.create_user("next").pk, "numbers go on after the restored ones"
    actions = list(Audit.objects.order_by("at").values_list("action", "arguments"))
    assert actions == [("cluster.backup", {}), ("cluster.restore", {"configuration": "***"})]


def test_a_new_cluster_becomes_the_old_one(admin: APIClient, workers: Workers, cluster: ClusterState) -> None:
    stopped = replace(world.RUNNING.status, run=world.STOPPED.status.run)
    cluster.put(records.vm_status(world.WEB), stopped)
    before, document = picture(cluster), back_up(admin)
    workers.start("control")
    emptied = admin.post("/api/v1/initialize", SURE | {"overwrite": "true"})
    assert emptied.status_code == 200, emptied.content
    assert replace(dump.read(cluster), nodes={}) == Configuration()
    assert User.objects.filter(username="ada").exists(), "the database is left as it is"
    assert restore(admin, document).status_code == 200
    assert picture(cluster) == before


def test_what_is_restored_refers_to_nothing_that_is_gone(
    admin: APIClient, workers: Workers, cluster: ClusterState
) -> None:
    workers.start("control")
    document = back_up(admin)
    eve = User.objects.create_user("eve", None, Role.ADMINISTRATOR)
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(user=eve, content_type=kind, object_id="1", object_repr="x", action_flag=ADDITION)
    task = service.wait(service.submit(ClusterMaintenance(False), eve).id, 30)
    assert task.over
    _, text = Token.objects.issue(eve, "test")
    admin.credentials(HTTP_X_API_KEY=str(text))
    assert restore(admin, document).status_code == 200
    assert not User.objects.filter(username="eve").exists()
    assert service.get(task.id).requested_by is None
    assert not LogEntry.objects.exists()
    assert set(Audit.objects.filter(action="cluster.restore").values_list("user", flat=True)) == {"eve"}


def broken(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Files that must be refused, each with what the refusal says."""
    user = next(row for row in document["rows"] if row["model"] == "accounts.user")
    twice = [*document["rows"], user | {"pk": 999}]
    ownerless = [row for row in document["rows"] if row["model"] != "accounts.user"]
    unknown = [*document["rows"], {"model": "accounts.crown", "pk": 1, "fields": {}}]
    audit = {"model": "tasks.audit", "pk": 1, "fields": {"action": "x", "at": document["created"]}}
    newer = {**document["migrations"], "accounts": [*document["migrations"]["accounts"], "0999_future"]}
    return [
        (json.dumps(document)[:1000], "cut short"),
        (json.dumps(document | {"created": "x"}), "checksum"),
        (resealed(document, schema=99), "newer version"),
        (resealed(document, migrations=newer), "0999_future"),
        (resealed(document, rows=twice), "contradict each other"),
        (resealed(document, rows=ownerless), "contradict each other"),
        (resealed(document, rows=unknown), "do not fit"),
        (resealed(document, rows=[*document["rows"], audit]), "belong into none"),
    ]


def test_a_file_that_does_not_fit_is_refused_and_nothing_changes(admin: APIClient, cluster: ClusterState) -> None:
    document = back_up(admin)
    before = picture(cluster)
    for text, wrong in broken(document):
        answer = restore(admin, text)
        assert answer.status_code == 400, wrong
        assert wrong in json.loads(answer.content)["message"]
    assert picture(cluster) == before
    assert not Task.objects.exists()
    assert not TaskLock.objects.exists()


def test_a_machine_that_runs_and_is_not_in_the_file_keeps_it_out(admin: APIClient, cluster: ClusterState) -> None:
    document = back_up(admin)
    configuration = document["configuration"]
    others = {
        name: {key: value for key, value in configuration[name].items() if key != world.WEB} for name in ("vms", "xmls")
    }
    before = picture(cluster)
    answer = restore(admin, resealed(document, configuration=configuration | others))
    assert answer.status_code == 409
    assert json.loads(answer.content)["message"] == "VM web runs, and would be removed"
    emptied = admin.post("/api/v1/initialize", SURE | {"overwrite": "true"})
    assert emptied.status_code == 409
    assert picture(cluster) == before
    assert not Task.objects.exists()


def test_nothing_else_is_accepted_until_a_restore_has_ended(
    admin: APIClient, workers: Workers, cluster: ClusterState, user: Callable[[Role], User]
) -> None:
    before, document = picture(cluster), back_up(admin)
    waiting = service.submit(ClusterMaintenance(False), user(Role.ADMINISTRATOR))
    refused = restore(admin, document)
    assert (refused.status_code, str(waiting.id) in str(refused.content)) == (409, True)
    service.cancel(waiting.id, None)
    change_everything(cluster)
    accepted = restore(admin, document, prefer="respond-async")
    assert accepted.status_code == 202, accepted.content
    task_id = json.loads(accepted.content)["task_id"]
    for method, path, arguments in (
        ("post", "/api/v1/status", {"state": "true"}),
        ("delete", f"/api/v1/tasks/{task_id}", {}),
        ("post", "/api/v1/restore", SURE | {"cluster_data": json.dumps(document)}),
    ):
        answer = getattr(admin, method)(path, arguments, format="json")
        assert answer.status_code == 409, (path, answer.content)
    workers.start("control")
    assert service.wait(uuid.UUID(task_id), 30).state == TaskState.SUCCEEDED
    assert picture(cluster) == before
    assert not TaskLock.objects.exists()


def test_a_worker_killed_midway_leaves_nothing_half_done(
    admin: APIClient, workers: Workers, cluster: ClusterState
) -> None:
    for machine in world.many(120):
        stopped = replace(machine, vm=replace(machine.vm, state=VmState.STOP), status=world.STOPPED.status)
        world.add_machine(cluster, stopped)
    before, document = picture(cluster), back_up(admin)
    change_everything(cluster)
    for machine in world.many(120):
        cluster.put(records.vm(machine.vm.uuid), replace(machine.vm, state=VmState.STOP, tags=(Tag("changed"),)))
    accepted = restore(admin, document, prefer="respond-async")
    task_id = uuid.UUID(json.loads(accepted.content)["task_id"])
    workers.start("control")
    changed = [records.vm(machine.vm.uuid) for machine in world.many(120)]
    until(lambda: cluster.get(changed[20]).value.tags == ())
    workers.kill("control")
    assert cluster.get(changed[-1]).value.tags, "it was killed midway"
    workers.start("control")
    task = service.wait(task_id, 30)
    assert (task.state, task.attempt) == (TaskState.SUCCEEDED, 2), task.message
    assert picture(cluster) == before


def test_initialising_a_cluster_with_a_configuration_needs_the_word(admin: APIClient, cluster: ClusterState) -> None:
    before = picture(cluster)
    for arguments in ({}, SURE, {"overwrite": "true"}):
        answer = admin.post("/api/v1/initialize", arguments)
        assert answer.status_code == 400, arguments
    assert picture(cluster) == before


def test_only_the_tables_that_are_left_out_are_missing() -> None:
    from django.apps import apps

    labels = {model._meta.label for model in apps.get_models()}
    assert set(tables.LEFT_OUT) <= labels, "one of them does not exist any more"
    assert {"accounts.User", "accounts.Token", "peers.Peer", "schedules.BackupSchedule"} <= labels - set(
        tables.LEFT_OUT
    )
