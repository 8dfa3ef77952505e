"""Tasks from the request to their end, with real workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from pvc_core.errors import Busy, Conflict, Forbidden, NotFound
from pvc_core.model.task import Role, TaskState
from pvc_core.state.cluster import ClusterState
from pvc_tasks.children import run_children
from pvc_tasks.scheduler import Scheduler
from pvc_web.accounts.models import User
from pvc_web.tasks import broker, service
from pvc_web.tasks.models import Audit, Task, TaskLock
from tests.services.probes import AdministratorProbe, ParentProbe, Probe
from tests.services.processes import Workers, lines, until

Users = Callable[[Role], User]
TIMEOUT = 30


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "probe")


@pytest.fixture
def operator(user: Users, cluster: ClusterState) -> User:
    return user(Role.OPERATOR)


def let_go(path: str) -> None:
    Path(f"{path}.go").touch()


def begun(task: Task) -> bool:
    return service.get(task.id).message == "second"


def test_a_task_runs_and_is_recorded(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.wait(service.submit(Probe(path, what="a"), operator, origin="192.0.2.1").id, TIMEOUT)
    assert task.state == TaskState.SUCCEEDED
    assert (task.message, task.result) == ("probed", {"message": "probed", "path": path})
    assert (task.current, task.total, task.attempt) == (3, 3, 1)
    assert (task.subject, task.run_on, task.requester) == ("test/a", "node1", "operator")
    assert task.created <= task.started <= task.ended
    assert lines(path) == ["first of attempt 1", "third"]
    assert not TaskLock.objects.exists()
    audit = Audit.objects.get()
    assert (audit.user, audit.origin, audit.action) == ("operator", "192.0.2.1", "test.probe")
    assert (audit.task_id, audit.arguments["what"]) == (task.id, "a")


def test_a_role_that_does_not_suffice_is_refused(user: Users, cluster: ClusterState, path: str) -> None:
    with pytest.raises(Forbidden, match="needs the role operator"):
        service.submit(Probe(path), user(Role.VIEWER))
    with pytest.raises(Forbidden, match="needs the role administrator"):
        service.submit(AdministratorProbe(path), user(Role.OPERATOR))
    assert not Task.objects.exists()
    assert not Audit.objects.exists()


def test_an_inactive_user_may_nothing(user: Users, cluster: ClusterState, path: str) -> None:
    who = user(Role.ADMINISTRATOR)
    who.is_active = False
    with pytest.raises(Forbidden):
        service.submit(Probe(path), who)


def test_what_the_check_refuses_leaves_no_record(operator: User, path: str) -> None:
    with pytest.raises(Conflict, match="the probe is refused"):
        service.submit(Probe(path, what="a", refused=True), operator)
    assert not Task.objects.exists()
    assert not TaskLock.objects.exists()


def test_a_second_task_on_the_same_thing_is_refused_until_the_first_is_over(operator: User, path: str) -> None:
    first = service.submit(Probe(path, what="a"), operator)
    with pytest.raises(Busy, match=str(first.id)):
        service.submit(Probe(path, what="a"), operator)
    service.submit(Probe(path, what="b"), operator)
    assert Task.objects.count() == 2
    assert Audit.objects.count() == 2
    service.cancel(first.id, operator)
    service.submit(Probe(path, what="a"), operator)


def test_the_audit_shows_no_secrets() -> None:
    shown = service.redacted(
        {"xml": "<graphics type='vnc' passwd='hunter2' port=\"1\"/>", "api_key": "k", "Password": "p", "size": 5}
    )
    assert shown == {
        "xml": '<graphics type=\'vnc\' passwd="***" port="1"/>',
        "api_key": "***",
        "Password": "***",
        "size": 5,
    }


def test_a_failure_is_undone_and_named(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.wait(service.submit(Probe(path, what="a", breaks=True), operator).id, TIMEOUT)
    assert (task.state, task.message, task.error_code) == (TaskState.FAILED, "the probe broke", "failed")
    assert (task.left, task.error_status) == ([], 500)
    assert lines(path) == ["first of attempt 1", "undone"]
    assert not TaskLock.objects.exists()


def test_a_task_cancelled_before_it_began_never_runs(workers: Workers, operator: User, path: str) -> None:
    cancelled = service.submit(Probe(path, what="a"), operator)
    assert service.cancel(cancelled.id, operator).state == TaskState.CANCELLED
    assert not TaskLock.objects.exists()
    workers.start("control")
    behind = service.submit(Probe(f"{path}-behind"), operator)
    assert service.wait(behind.id, TIMEOUT).state == TaskState.SUCCEEDED
    assert lines(path) == []
    assert service.get(cancelled.id).state == TaskState.CANCELLED


def test_a_running_task_that_is_cancelled_undoes_what_it_did(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    task = service.submit(Probe(path, what="a", waits=True), operator)
    until(lambda: begun(task))
    service.cancel(task.id, operator, origin="192.0.2.1")
    task = service.wait(task.id, 5)
    assert (task.state, task.message, task.left) == (TaskState.CANCELLED, "cancelled on request", [])
    assert lines(path) == ["first of attempt 1", "undone"]
    assert not TaskLock.objects.exists()
    assert Audit.objects.filter(action="task.cancel", origin="192.0.2.1", task=task).exists()


def test_who_may_cancel(user: Users, operator: User, path: str) -> None:
    mine = service.submit(Probe(path), operator)
    with pytest.raises(Forbidden, match="needs the role operator"):
        service.cancel(mine.id, user(Role.VIEWER))
    others = service.submit(AdministratorProbe(path), user(Role.ADMINISTRATOR))
    with pytest.raises(Forbidden, match="needs the role administrator"):
        service.cancel(others.id, operator)
    service.cancel(mine.id, user(Role.ADMINISTRATOR))
    with pytest.raises(Conflict, match="over already"):
        service.cancel(mine.id, operator)
    with pytest.raises(NotFound):
        service.cancel(uuid.uuid4(), operator)


def test_a_message_delivered_several_times_runs_once(workers: Workers, operator: User, path: str) -> None:
    task = service.submit(Probe(path, waits=True), operator)
    broker.send([task, task, task])
    workers.start("control")
    until(lambda: begun(task))
    broker.send([task])
    let_go(path)
    assert service.wait(task.id, TIMEOUT).attempt == 1
    broker.send([task])
    behind = service.submit(Probe(f"{path}-behind"), operator)
    service.wait(behind.id, TIMEOUT)
    assert lines(path) == ["first of attempt 1", "third"]
    assert workers.log("control").count("another worker's, or over") == 5


def test_waiting_ends_at_the_next_change(workers: Workers, operator: User, path: str) -> None:
    task = service.submit(Probe(path, waits=True), operator)
    assert service.wait_change(task.id, 0.1).state == TaskState.QUEUED
    workers.start("control")
    until(lambda: begun(task))
    assert service.wait(task.id, 0.1).state == TaskState.RUNNING
    let_go(path)
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED
    with pytest.raises(NotFound):
        service.wait(uuid.uuid4(), 1)


def test_a_long_task_of_the_bulk_lane_delays_nobody_in_the_control_lane(
    workers: Workers, operator: User, tmp_path: Path
) -> None:
    workers.start("control")
    workers.start("bulk")
    slow = [service.submit(ParentProbe((str(tmp_path / f"{n}"),), waits=True), operator) for n in range(2)]
    until(lambda: all(service.get(task.id).children.count() == 1 for task in slow))
    quick = service.submit(Probe(str(tmp_path / "quick")), operator)
    assert service.wait(quick.id, 5).state == TaskState.SUCCEEDED
    for n in range(2):
        let_go(str(tmp_path / f"{n}"))
    assert [service.wait(task.id, TIMEOUT).state for task in slow] == [TaskState.SUCCEEDED] * 2


def test_a_parent_hears_why_children_failed(workers: Workers, operator: User, tmp_path: Path) -> None:
    workers.start("control")
    workers.start("bulk")
    good, broken, refused = (str(tmp_path / name) for name in ("good", "breaks", "refused"))
    task = service.wait(service.submit(ParentProbe((good, broken, refused)), operator).id, TIMEOUT)
    assert task.result["failed"] == {broken: "the probe broke", refused: "the probe is refused"}
    assert [child.requester for child in task.children.all()] == ["operator", "operator"]
    assert lines(good) == ["first of attempt 1", "third"]


def test_a_child_is_not_taken_for_another_one_on_the_same_thing(
    workers: Workers, operator: User, tmp_path: Path
) -> None:
    first, second = (str(tmp_path / name) for name in ("one-first", "one-second"))
    task = service.submit(ParentProbe((first, second)), operator)
    workers.start("control")
    workers.start("bulk")
    task = service.wait(task.id, TIMEOUT)
    assert list(task.result["failed"]) == [second]
    assert "is being worked on" in task.result["failed"][second]


def test_a_parent_sends_only_so_many_children_at_a_time(workers: Workers, operator: User, tmp_path: Path) -> None:
    workers.start("control")
    workers.start("bulk")
    paths = [str(tmp_path / f"{n}") for n in range(3)]
    task = service.submit(ParentProbe(tuple(paths), waits=True, at_once=2), operator)
    until(lambda: [child.message for child in Task.objects.filter(parent=task)] == ["second", "second"])
    for path in paths[:2]:
        let_go(path)
    until(lambda: service.get(task.id).message == "children (66 %)")
    assert task.children.count() == 3
    let_go(paths[2])
    assert service.wait(task.id, TIMEOUT).state == TaskState.SUCCEEDED
    assert [lines(path)[-1] for path in paths] == ["third"] * 3


def test_a_parent_that_begins_anew_waits_for_the_child_that_is_at_work_on_the_same_thing(
    workers: Workers, operator: User, tmp_path: Path
) -> None:
    class Parent:
        def claimed(self) -> bool:
            return True

        def cancel_requested(self) -> bool:
            return False

    workers.start("control")
    task = service.submit(ParentProbe(()), operator)
    earlier, now = Probe(str(tmp_path / "earlier"), what="a"), Probe(str(tmp_path / "now"), what="a")
    service.submit(earlier, operator, parent=task)
    seen: list[int] = []
    assert run_children(task, Parent(), [now], TIMEOUT, 1, seen.append) == []
    assert (lines(earlier.path)[-1], lines(now.path), seen[-1]) == ("third", [], 1)
    assert task.children.count() == 1


def test_a_parent_that_is_cancelled_cancels_its_children(workers: Workers, operator: User, tmp_path: Path) -> None:
    workers.start("control")
    workers.start("bulk")
    paths = [str(tmp_path / f"{n}") for n in range(2)]
    unsent = str(tmp_path / "unsent")
    task = service.submit(ParentProbe((*paths, unsent), waits=True, at_once=2), operator)
    until(lambda: [child.message for child in Task.objects.filter(parent=task)] == ["second", "second"])
    service.cancel(task.id, operator)
    assert service.wait(task.id, TIMEOUT).state == TaskState.CANCELLED
    assert lines(unsent) == []
    assert {child.state for child in Task.objects.filter(parent=task)} == {TaskState.CANCELLED}
    assert [lines(path)[-1] for path in paths] == ["undone", "undone"]


def test_a_parent_gives_up_on_children_that_take_too_long(workers: Workers, operator: User, path: str) -> None:
    workers.start("control")
    workers.start("bulk")
    task = service.submit(ParentProbe((path,), waits=True, timeout=2.0), operator)
    task = service.wait(task.id, TIMEOUT)
    assert task.state == TaskState.SUCCEEDED
    assert task.result["failed"] == {path: "cancelled on request"}
    assert lines(path)[-1] == "undone"


def test_the_very_first_schedule_is_noticed(user: Users, cluster: ClusterState, path: str) -> None:
    scheduler = Scheduler(app=broker.app)
    scheduler.tick()
    interval = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="probe", task="test.probe", kwargs=f'{{"path": "{path}"}}', interval=interval)

    def submitted() -> bool:
        scheduler.tick()
        return Task.objects.exists()

    until(submitted)


def test_a_schedule_submits_its_operation(user: Users, cluster: ClusterState, path: str) -> None:
    interval = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(
        name="probe", task="test.probe", kwargs=f'{{"path": "{path}"}}', interval=interval, start_time=None
    )
    PeriodicTask.objects.create(name="nonsense", task="test.nonsense", interval=interval)
    scheduler = Scheduler(app=broker.app)

    def submitted() -> bool:
        scheduler.tick()
        return Task.objects.exists()

    until(submitted)
    task = Task.objects.first()
    assert (task.operation, task.arguments["path"], task.requester) == ("test.probe", path, "")
    assert Audit.objects.get(task=task).origin == "schedule probe"
