"""The calls about tasks, as HTTP requests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from pvc_core.model.task import Role, TaskState
from pvc_core.state.cluster import ClusterState
from pvc_web.accounts.models import User
from pvc_web.tasks import service
from pvc_web.tasks.models import Task
from tests.services.probes import BulkProbe, Probe

Users = Callable[[Role], User]
Clients = Callable[[Role | None], APIClient]
TASKS = "/api/v1/tasks"


@pytest.fixture
def operator(user: Users, cluster: ClusterState) -> User:
    return user(Role.OPERATOR)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "probe")


def test_a_task_is_shown_in_the_documented_shape_and_more(api: Clients, operator: User, path: str) -> None:
    task = service.submit(Probe(path, what="a"), operator)
    shown = api(Role.VIEWER).get(f"{TASKS}/{task.id}").json()
    assert (shown["state"], shown["status"], shown["current"], shown["total"]) == ("PENDING", "", 0, 1)
    assert (shown["task_id"], shown["task_name"], shown["run_on"]) == (str(task.id), "test.probe", "cluster")
    assert (shown["requested_by"], shown["subject"]) == ("operator", "test/a")
    assert (shown["started"], shown["ended"], shown["duration"], shown["error"]) == (None, None, None, None)
    assert (shown["result"], shown["left"]) == (None, [])
    assert "arguments" not in shown


def test_a_failed_task_says_why(api: Clients, operator: User, path: str) -> None:
    task = service.submit(Probe(path), operator)
    Task.objects.filter(pk=task.pk).update(
        state=TaskState.FAILED, message="it broke", error_code="conflict", left=["half a volume"]
    )
    shown = api(Role.VIEWER).get(f"{TASKS}/{task.id}").json()
    assert shown["state"] == "FAILURE"
    assert shown["error"] == {"code": "conflict", "message": "it broke"}
    assert shown["left"] == ["half a volume"]
    assert service.get(task.id).error_status == 409


def test_the_list_shows_what_runs_and_waits_and_the_newest(api: Clients, operator: User, path: str) -> None:
    tasks = [service.submit(kind(path), operator) for kind in (Probe, BulkProbe, Probe)]
    Task.objects.filter(pk=tasks[0].pk).update(state=TaskState.RUNNING, worker="control@node1")
    client = api(Role.VIEWER)
    shown = client.get(TASKS).json()
    assert {node: [task["id"] for task in some] for node, some in shown["active"].items()} == {
        "node1": [str(tasks[0].id)]
    }
    assert {task["id"] for task in shown["reserved"]["cluster"]} == {str(task.id) for task in tasks[1:]}
    assert shown["scheduled"] == {}
    assert [task["task_id"] for task in shown["tasks"]] == [str(task.id) for task in reversed(tasks)]
    assert shown["total"] == 3
    page = client.get(TASKS, {"limit": 1, "offset": 1}).json()
    assert ([task["task_id"] for task in page["tasks"]], page["total"]) == ([str(tasks[1].id)], 3)
    running = client.get(TASKS, {"state": "RUNNING"}).json()
    assert ([task["task_id"] for task in running["tasks"]], running["total"]) == ([str(tasks[0].id)], 1)


@pytest.mark.parametrize("query", [{"limit": "x"}, {"offset": -1}, {"state": "BUSY"}, {"limit": 100000}])
def test_a_bad_argument_of_the_list_is_named(api: Clients, operator: User, query: dict[str, object]) -> None:
    answer = api(Role.VIEWER).get(TASKS, query)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(next(iter(query)))


def test_the_list_costs_a_fixed_number_of_queries(api: Clients, operator: User, path: str) -> None:
    client = api(Role.VIEWER)
    client.get(TASKS)
    for count in (1, 20):
        for _ in range(count):
            service.submit(Probe(path), operator)
        with CaptureQueriesContext(connection) as queries:
            client.get(TASKS)
        assert len(queries) == 4  # the token, what is unfinished, the page, the count


def test_waiting_answers_at_the_next_change(api: Clients, operator: User, path: str) -> None:
    task = service.submit(Probe(path), operator)
    client = api(Role.VIEWER)
    assert client.get(f"{TASKS}/{task.id}", {"wait": "0.1"}).json()["state"] == "PENDING"
    timer = threading.Timer(0.5, lambda: (service.cancel(task.id, None), connection.close()))
    timer.start()
    assert client.get(f"{TASKS}/{task.id}", {"wait": "20"}).json()["state"] == "REVOKED"
    timer.join()
    assert client.get(f"{TASKS}/{task.id}", {"wait": "20"}).json()["state"] == "REVOKED"
    assert client.get(f"{TASKS}/{task.id}", {"wait": "31"}).status_code == 400


def test_cancel(api: Clients, operator: User, path: str) -> None:
    task = service.submit(Probe(path), operator)
    url = f"{TASKS}/{task.id}"
    assert api(None).delete(url).status_code == 401
    assert api(Role.VIEWER).delete(url).status_code == 403
    answer = api(Role.OPERATOR).delete(url)
    assert answer.status_code == 200
    assert answer.json() == {
        "message": f"task {task.id} was cancelled",
        "task_id": str(task.id),
        "task_name": "test.probe",
        "run_on": "cluster",
    }
    again = api(Role.OPERATOR).delete(url)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("task", [str(uuid.uuid4()), "nonsense"])
def test_a_task_that_is_not_there(api: Clients, operator: User, task: str) -> None:
    for answer in (api(Role.VIEWER).get(f"{TASKS}/{task}"), api(Role.OPERATOR).delete(f"{TASKS}/{task}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
