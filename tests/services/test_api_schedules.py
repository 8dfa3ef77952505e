"""Schedules, targets and their periodic tasks, over the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django_celery_beat.models import PeriodicTask
from rest_framework.test import APIClient

from pvc_core.errors import NotFound
from pvc_core.model.backup import BootSign, Retention
from pvc_core.model.task import Role
from pvc_core.ops.base import build
from pvc_core.state.cluster import ClusterState
from pvc_web.accounts.models import User
from pvc_web.peers.models import Peer
from pvc_web.schedules.models import BackupSchedule, BackupTarget
from pvc_web.schedules.store import StoredSchedules, find_target
from pvc_web.tasks.models import Audit, Task

BACKUP = {"name": "nightly", "when": "30 2 * * *", "tags": ["kept"], "target": "/srv/backups"}
RECIPIENT = "age1s2uxeae6wqpdjvcn2c9yyxracl6ngx6528vjt5fqtdemyu3ah3rsnhns4x"
SECRET = "zaq12wsx-never-shown"


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    return api(Role.ADMINISTRATOR)


def make(client: APIClient, kind: str = "backup", **fields: Any) -> Any:
    base = BACKUP if kind == "backup" else {"name": "west", "when": "1m", "tags": ["kept"], "peer": "west"}
    return client.post(f"/api/v1/schedules/{kind}", base | fields, format="json")


def entry(name: str) -> PeriodicTask:
    return PeriodicTask.objects.get(name=name)


def test_a_schedule_makes_its_periodic_task_and_changes_it(client: APIClient) -> None:
    assert make(client).status_code == 200
    task = entry("backup nightly")
    assert (task.task, task.crontab.hour, task.crontab.minute, task.enabled) == ("vm.autobackup", "2", "30", True)
    assert build(task.task, json.loads(task.kwargs)).arguments()["schedules"] == ("nightly",)
    answer = client.put("/api/v1/schedules/backup/nightly", {"when": "15m", "enabled": False}, format="json")
    assert answer.status_code == 200
    task = entry("backup nightly")
    assert (task.crontab, task.interval.every, task.interval.period, task.enabled) == (None, 15, "minutes", False)


def test_a_removed_schedule_takes_its_periodic_tasks_with_it(client: APIClient) -> None:
    make(client, test_when="1d")
    assert entry("restore test nightly").enabled
    client.delete("/api/v1/schedules/backup/nightly")
    assert not PeriodicTask.objects.filter(name__contains="nightly").exists()
    assert client.get("/api/v1/schedules/backup/nightly").status_code == 404


def test_a_change_leaves_what_it_does_not_name(client: APIClient) -> None:
    make(client, keep="last=3", mail=["a@example.com"], mount=["/bin/mount -o a,b x /srv"])
    client.put("/api/v1/schedules/backup/nightly", {"verify": True, "mail": ""}, format="json")
    document = client.get("/api/v1/schedules/backup/nightly").json()
    assert (document["keep"], document["verify"], document["mail"]) == ("last=3", True, [])
    assert document["mount"] == ["/bin/mount -o a,b x /srv"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "Bad Name"}, "name"),
        ({"when": "soon"}, "when"),
        ({"when": "0m"}, "1m"),
        ({"when": "61 * * * *"}, "when"),
        ({"tags": []}, "tags"),
        ({"target": "nowhere"}, "target"),
        ({"keep": "last=x"}, "keep"),
        ({"keep": "full=1,last=1"}, "keep"),
        ({"recipients": ["age1wrong"]}, "recipient"),
        ({"full_interval": 0}, "full_interval"),
        ({"mount": ["mount x"]}, "mount"),
        ({"mount": ["/bin/mount 'x"]}, "mount"),
        ({"mail": ["nobody"]}, "mail"),
        ({"web_hook": "ftp://x"}, "web_hook"),
        ({"test_when": "1d", "test_sign": "console"}, "test_argument"),
        ({"test_when": "1d", "test_sign": "console", "test_argument": "("}, "test_argument"),
        ({"test_when": "1d", "recipients": [RECIPIENT]}, "identity_file"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_nothing_is_made(
    client: APIClient, fields: dict[str, Any], named: str
) -> None:
    answer = make(client, **fields)
    assert answer.status_code == 400, answer.content
    assert named in answer.json()["message"]
    assert not BackupSchedule.objects.exists()
    assert not PeriodicTask.objects.filter(task="vm.autobackup").exists()


def test_a_name_is_taken_once(client: APIClient) -> None:
    make(client)
    assert make(client).status_code == 409


def test_secrets_are_taken_and_never_shown(client: APIClient) -> None:
    target = {"name": "store", "uri": "s3://bucket/pvc", "access_key": "AK", "secret_key": SECRET}
    assert client.post("/api/v1/schedules/target", target).status_code == 200
    make(client, target="store", web_hook=f"https://hooks.example.com/{SECRET}")
    paths = ("target", "target/store", "backup", "backup/nightly")
    shown = b"".join(client.get(f"/api/v1/schedules/{path}").content for path in paths)
    assert SECRET.encode() not in shown
    assert b"hooks.example.com" in shown
    assert not any(SECRET in str(row.arguments) for row in Audit.objects.all())
    assert find_target("store").credentials["secret_key"] == SECRET
    assert SECRET not in repr(find_target("store"))
    assert SECRET not in repr(StoredSchedules().backup("nightly"))


def test_a_target_in_use_stays_and_its_credentials_change_one_by_one(client: APIClient) -> None:
    client.post("/api/v1/schedules/target", {"name": "box", "uri": "sftp://u@h/d", "password": "x", "host_key": "k"})
    make(client, target="box")
    assert client.delete("/api/v1/schedules/target/box").status_code == 409
    client.put("/api/v1/schedules/target/box", {"password": "", "private_key": "p"})
    assert find_target("box").credentials == {"private_key": "p", "host_key": "k"}
    client.delete("/api/v1/schedules/backup/nightly")
    assert client.delete("/api/v1/schedules/target/box").status_code == 200
    with pytest.raises(NotFound, match="nor a stored target, of which there is none yet"):
        find_target("box")


@pytest.mark.parametrize("uri", ["http://x", "sftp://u:secret@h/d", "nonsense"])
def test_a_target_of_no_known_kind_is_refused(client: APIClient, uri: str) -> None:
    answer = client.post("/api/v1/schedules/target", {"name": "t", "uri": uri})
    assert answer.status_code == 400
    assert not BackupTarget.objects.exists()


def test_operations_read_a_schedule_as_it_was_written(client: APIClient) -> None:
    make(client, keep="last=3,daily=7", full_interval=7, test_when="1d", test_sign="console", test_argument="login:")
    plan = StoredSchedules().backup("nightly")
    assert plan.retention == Retention(last=3, daily=7)
    assert plan.full_interval == 7
    assert plan.test is not None
    assert (plan.test.sign, plan.test.argument) == (BootSign.CONSOLE, "login:")


def test_a_mirror_may_run_every_minute(client: APIClient) -> None:
    assert make(client, "mirror").status_code == 400  # there is no such cluster
    Peer.objects.create(name="west", api_uri="https://west.example.com/api/v1", token="t")
    assert make(client, "mirror", goal=120).status_code == 200
    task = entry("mirror west")
    assert (task.task, task.interval.every, task.interval.period) == ("vm.automirror", 1, "minutes")
    assert StoredSchedules().mirror("west").goal == 120


def test_the_documented_call_runs_all_that_are_enabled(client: APIClient) -> None:
    assert client.post("/api/v1/vm/autobackup").status_code == 400
    make(client)
    make(client, name="off", enabled=False)
    make(client, name="weekly")
    answer = client.post("/api/v1/vm/autobackup", {"force_full": "true", "email_recipients": "a@b.de,c@d.de"})
    assert answer.status_code == 202
    task = Task.objects.get(pk=answer.json()["task_id"])
    assert task.arguments == {"schedules": ["nightly", "weekly"], "force_full": True, "mail": ["a@b.de", "c@d.de"]}
    assert client.post("/api/v1/vm/autobackup", {"schedule": "nightly"}).status_code == 409  # one runs already
    assert client.post("/api/v1/vm/autobackup", {"schedule": "hourly"}).status_code == 404


def test_the_admin_takes_secrets_and_never_shows_them(client: APIClient, user: Callable[[Role], User]) -> None:
    browser = Client()
    browser.force_login(user(Role.ADMINISTRATOR), backend="django.contrib.auth.backends.ModelBackend")
    credentials = json.dumps({"access_key": "AK", "secret_key": SECRET})
    form = {"name": "store", "uri": "s3://bucket", "new_credentials": credentials}
    assert browser.post("/admin/schedules/backuptarget/add/", form).status_code == 302
    assert find_target("store").credentials["secret_key"] == SECRET
    make(client, target="store", web_hook=f"https://hooks.example.com/{SECRET}")
    target, schedule = BackupTarget.objects.get(), BackupSchedule.objects.get()
    pages = [
        browser.get(f"/admin/schedules/{path}")
        for path in (
            "backuptarget/",
            f"backuptarget/{target.pk}/change/",
            "backupschedule/",
            "backupschedule/add/",
            f"backupschedule/{schedule.pk}/change/",
            "mirrorschedule/add/",
            "restoretestresult/",
        )
    ]
    assert [page.status_code for page in pages] == [200] * len(pages)
    assert not any(SECRET in page.content.decode() for page in pages)
    browser.post(f"/admin/schedules/backuptarget/{target.pk}/change/", {"name": "store", "uri": "s3://other"})
    assert find_target("store").credentials["secret_key"] == SECRET
