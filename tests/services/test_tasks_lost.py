"""What becomes of tasks when a worker, Redis, PostgreSQL or the leader dies under them."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import close_old_connections, connection
from django.db.models.functions import Now
from redis import Redis
from redis.exceptions import ConnectionError
from rest_framework.test import APIClient

from lab.local import LocalServices
from pvc_core.errors import Unavailable
from pvc_core.model.task import Role, TaskState
from pvc_core.state.cluster import ClusterState
from pvc_tasks import claims
from pvc_tasks.reaper import Reaper
from pvc_web.accounts.models import User
from pvc_web.config import cluster as connections
from pvc_web.tasks import service
from pvc_web.tasks.broker import app
from pvc_web.tasks.models import Task, TaskLock
from tests.services.probes import ParentProbe, Probe, ResumableProbe
from tests.services.processes import Workers, lines, until

TIMEOUT = 30  # the promise: a task whose worker died is taken up again or failed within 30 s


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "probe")


@pytest.fixture
def operator(user: Callable[[Role], User], cluster: ClusterState) -> User:
    return user(Role.OPERATOR)


@pytest.fixture
def reaper(services: LocalServices) -> Reaper:
    limit = connections.config().worker.heartbeat_limit
    return Reaper(limit, 0.0, Redis.from_url(services.redis), lambda node: node == "node1")


def let_go(path: str) -> None:
    Path(f"{path}.go").touch()


def begun(task: Task) -> bool:
    return service.get(task.id).message == "second"


def test_a_killed_worker_takes_up_its_own_resumable_task_again(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.submit(ResumableProbe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    workers.kill("control")
    let_go(path)
    workers.start("control")
    task = service.wait(task.id, TIMEOUT)
    assert (task.state, task.attempt) == (TaskState.SUCCEEDED, 2)
    assert lines(path) == ["first of attempt 1", "first of attempt 2", "third"]


def test_what_cannot_be_resumed_fails_and_names_what_is_left(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.submit(Probe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    workers.kill("control")
    workers.start("control")
    task = service.wait(task.id, TIMEOUT)
    assert (task.state, task.error_code) == (TaskState.FAILED, "worker_lost")
    assert "its worker was restarted during the step 'second'" in task.message
    assert task.left == ["the first step is noted"]
    assert not TaskLock.objects.exists()
    let_go(path)
    again = service.submit(Probe(path, what="a"), operator)
    assert service.wait(again.id, TIMEOUT).state == TaskState.SUCCEEDED


def test_the_leader_settles_tasks_of_a_worker_that_does_not_come_back(
    workers: Workers, operator: User, path: str
) -> None:
    workers.start("control")
    workers.start("beat")
    fails = service.submit(Probe(path, waits=True), operator)
    resumes = service.submit(ResumableProbe(path, waits=True), operator)
    until(lambda: begun(fails) and begun(resumes))
    workers.kill("control")
    assert service.wait(fails.id, TIMEOUT).state == TaskState.FAILED
    until(lambda: service.get(resumes.id).state == TaskState.QUEUED)


def test_a_claim_whose_answer_was_lost_is_found_again(operator: User, path: str) -> None:
    task = service.submit(Probe(path), operator)
    token = uuid.uuid4()
    assert claims.claim(task.id, "control@node1", token)
    again = claims.claim(task.id, "control@node1", token)
    assert again is not None
    assert again.attempt == 1
    assert claims.claim(task.id, "control@node2", uuid.uuid4()) is None


def test_workers_get_time_to_show_that_they_live_once_the_database_is_back(
    services: LocalServices, operator: User, path: str
) -> None:
    task = service.submit(Probe(path), operator)
    Task.objects.update(state=TaskState.RUNNING, heartbeat=Now() - timedelta(minutes=1), claim=task.pk, attempt=1)
    patient = Reaper(1.0, 60.0, Redis.from_url(services.redis), lambda _: True)
    patient.sweep()
    patient.sweep()
    assert service.get(task.id).state == TaskState.RUNNING
    Reaper(1.0, 0.0, Redis.from_url(services.redis), lambda _: True).sweep()
    assert service.get(task.id).state == TaskState.FAILED


def test_a_task_is_resumed_three_times_at_most(reaper: Reaper, operator: User, path: str) -> None:
    task = service.submit(ResumableProbe(path), operator)
    for attempt in (1, 2, 3):
        stale = Now() - timedelta(minutes=1)
        Task.objects.filter(pk=task.pk).update(state=TaskState.RUNNING, heartbeat=stale, attempt=attempt, claim=task.pk)
        reaper.sweep()
        assert service.get(task.id).state == (TaskState.QUEUED if attempt < 3 else TaskState.FAILED)


def test_a_worker_that_was_silent_for_too_long_gives_its_task_up(
    workers: Workers, operator: User, reaper: Reaper, path: str
) -> None:
    process = workers.start("control")
    task = service.submit(Probe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    process.send_signal(signal.SIGSTOP)
    until(lambda: reaper.sweep() or service.get(task.id).over)
    failed = service.get(task.id)
    process.send_signal(signal.SIGCONT)
    until(lambda: "no longer ours" in workers.log("control"))
    assert lines(path) == ["first of attempt 1"]  # undoing is no longer its business
    assert service.get(task.id).ended == failed.ended


def test_heartbeats_keep_a_long_task(workers: Workers, operator: User, reaper: Reaper, path: str) -> None:
    workers.start("control")
    task = service.submit(Probe(path, waits=True), operator)
    until(lambda: begun(task))
    end = time.monotonic() + 2 * connections.config().worker.heartbeat_limit
    first = service.get(task.id).heartbeat
    until(lambda: reaper.sweep() or time.monotonic() > end)
    assert service.get(task.id).heartbeat > first
    let_go(path)
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED


def test_tasks_queued_in_a_redis_that_was_lost_still_run(
    workers: Workers, operator: User, services: LocalServices, tmp_path: Path
) -> None:
    workers.start("control")
    workers.start("beat")
    first = service.submit(Probe(str(tmp_path / "first")), operator)
    assert service.wait(first.id, TIMEOUT).state == TaskState.SUCCEEDED
    held = service.submit(Probe(str(tmp_path / "held"), waits=True), operator)
    until(lambda: begun(held))
    services.kill("redis")
    queued = [service.submit(Probe(str(tmp_path / f"{n}")), operator) for n in range(3)]
    services.start_service("redis")
    services.wait("redis")
    assert [service.wait(task.id, TIMEOUT).state for task in queued] == [TaskState.SUCCEEDED] * 3
    let_go(str(tmp_path / "held"))
    assert service.wait(held.id, TIMEOUT).state == TaskState.SUCCEEDED
    after = service.submit(Probe(str(tmp_path / "after")), operator)
    assert service.wait(after.id, TIMEOUT).state == TaskState.SUCCEEDED


def test_messages_that_redis_lost_are_sent_again_once(
    operator: User, services: LocalServices, reaper: Reaper, path: str
) -> None:
    redis = Redis.from_url(services.redis)
    tasks = [service.submit(Probe(f"{path}{n}"), operator) for n in range(3)]
    redis.rpop("cluster.control")
    reaper.sweep()
    assert redis.llen("cluster.control") == 2  # too early: it may be on its way
    Task.objects.update(sent=Now() - timedelta(seconds=10))
    reaper.sweep()
    assert redis.llen("cluster.control") == 3
    Task.objects.update(sent=Now() - timedelta(seconds=10))
    reaper.sweep()
    assert redis.llen("cluster.control") == len(tasks)


def test_a_task_is_sent_though_redis_goes_between_its_queue_and_its_message(
    operator: User, services: LocalServices, path: str
) -> None:
    service.submit(Probe(f"{path}1"), operator)
    with app.producer_pool.acquire() as producer:
        channel, connection = producer.channel, producer.connection
    declare = channel.queue_declare

    def go(*_: object, **__: object) -> None:
        channel.queue_declare = declare
        raise ConnectionError("the master has changed")

    connection.declared_entities.clear()
    channel.queue_declare = go
    service.submit(Probe(f"{path}2"), operator)
    assert channel.queue_declare is declare
    assert Redis.from_url(services.redis).llen("cluster.control") == 2


def test_a_restart_of_the_database_loses_no_task(
    workers: Workers, operator: User, services: LocalServices, path: str
) -> None:
    workers.start("control")
    task = service.submit(Probe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")  # the services for tests do not flush each commit
    services.kill("postgresql")
    services.start_service("postgresql")
    services.wait("postgresql")
    close_old_connections()  # as the web server does before each request
    let_go(path)
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED
    after = service.submit(Probe(f"{path}-after"), operator)
    assert service.wait(after.id, TIMEOUT).state == TaskState.SUCCEEDED


def test_a_task_that_has_changed_nothing_waits_for_zookeeper(
    workers: Workers, operator: User, services: LocalServices, path: str
) -> None:
    workers.start("control")
    first = service.submit(Probe(f"{path}-first"), operator)
    assert service.wait(first.id, TIMEOUT).state == TaskState.SUCCEEDED
    services.kill("zookeeper")
    try:
        task = service.submit(Probe(path), operator)
        until(lambda: f"task {task.id} (test.probe) waits" in workers.log("control"))
    finally:
        services.start_service("zookeeper")
        services.wait("zookeeper")
    task = service.wait(task.id, TIMEOUT)
    assert (task.state, task.attempt) == (TaskState.SUCCEEDED, 1)
    assert lines(path) == ["first of attempt 1", "third"]
    until(_follows_again)


def test_a_worker_that_stops_lets_its_tasks_end(workers: Workers, operator: User, path: str) -> None:
    process = workers.start("control")
    task = service.submit(Probe(path, waits=True), operator)
    until(lambda: begun(task))
    process.terminate()
    let_go(path)
    assert workers.stop("control") == 0
    assert service.get(task.id).state == TaskState.SUCCEEDED


def test_a_task_that_outlasts_the_stop_of_its_worker_is_undone_and_queued_again(
    workers: Workers, operator: User, path: str
) -> None:
    workers.start("control")
    task = service.submit(Probe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    assert workers.stop("control") == 0
    assert lines(path) == ["first of attempt 1", "undone"]
    queued = service.get(task.id)
    assert (queued.state, queued.attempt) == (TaskState.QUEUED, 0)
    let_go(path)
    workers.start("control")
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED


def test_a_lane_of_a_node_has_one_worker(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.submit(Probe(path), operator)
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED
    second = Workers(Path(path).parent / "second")
    assert second.start("control").wait(TIMEOUT) != 0
    assert "this worker runs here already" in second.log("control")


def test_children_go_with_their_parent(operator: User, reaper: Reaper, path: str) -> None:
    parent = service.submit(ParentProbe((path,)), operator)
    child = service.submit(Probe(path), operator, parent=parent)
    Task.objects.filter(pk=parent.pk).update(state=TaskState.FAILED)
    reaper.sweep()
    assert service.get(child.id).state == TaskState.CANCELLED


def test_a_task_for_a_node_that_is_not_there_does_not_wait_for_ever(operator: User, reaper: Reaper, path: str) -> None:
    tasks = {node: service.submit(Probe(path, what=node), operator) for node in ("node1", "node2")}
    for node, task in tasks.items():
        Task.objects.filter(pk=task.pk).update(node=node, created=Now() - timedelta(minutes=2))
    reaper.sweep()
    assert service.get(tasks["node1"].id).state == TaskState.QUEUED
    failed = service.get(tasks["node2"].id)
    assert (failed.state, failed.error_code) == (TaskState.FAILED, "unreachable")
    assert "node node2 is not running" in failed.message
    assert [lock.task_id for lock in TaskLock.objects.all()] == [tasks["node1"].id]


def test_the_api_says_when_the_database_is_away(
    api: Callable[[Role | None], APIClient], operator: User, services: LocalServices
) -> None:
    client = api(Role.VIEWER)
    assert client.get("/api/v1/tasks").status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    services.kill("postgresql")
    try:
        close_old_connections()
        answer = client.get("/api/v1/tasks")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    finally:
        services.start_service("postgresql")
        services.wait("postgresql")
        close_old_connections()
    assert client.get("/api/v1/tasks").status_code == 200


def test_the_view_is_refused_once_it_may_be_out_of_date(cluster: ClusterState, services: LocalServices) -> None:
    connections.view()
    services.kill("zookeeper")

    def refused() -> bool:
        try:
            connections.view()
        except Unavailable:
            return True
        return False

    try:
        until(refused)
    finally:
        services.start_service("zookeeper")
        services.wait("zookeeper")
    until(lambda: not refused())


def test_one_of_two_leads_and_the_other_follows(workers: Workers, operator: User, tmp_path: Path) -> None:
    workers.start("beat")
    until(lambda: "leads the schedules" in workers.log("beat"))
    others = Workers(tmp_path / "other")
    try:
        others.start("beat")
        until(lambda: "waits to lead" in others.log("beat"))
        assert "node1 leads" not in others.log("beat")
        workers.kill("beat")
        until(lambda: "leads the schedules" in others.log("beat"))
        assert others.stop("beat") == 0
    finally:
        others.close()


def test_a_leader_that_loses_zookeeper_stops_leading(workers: Workers, operator: User, services: LocalServices) -> None:
    workers.start("beat")
    until(lambda: "leads the schedules" in workers.log("beat"))
    services.kill("zookeeper")
    try:
        until(lambda: "no longer leads" in workers.log("beat"), connections.config().zookeeper.session_timeout)
    finally:
        services.start_service("zookeeper")
        services.wait("zookeeper")
    until(lambda: workers.log("beat").count("node1 leads the schedules") == 2)
    until(_follows_again)


def _follows_again() -> bool:
    """Whether this process is back at ZooKeeper, as the tests after this one expect."""
    try:
        connections.view().settle()
    except Unavailable:
        return False
    return True
