"""Old tasks and audit entries go, and what is still needed stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from pvc_core.config import HistoryConfig
from pvc_core.model.task import Lane, TaskState
from pvc_tasks import pruning
from pvc_tasks.pruning import Pruner
from pvc_web.tasks.models import Audit, Task

OLD = timedelta(days=40)


def task(
    age: timedelta = OLD, state: TaskState = TaskState.SUCCEEDED, operation: str = "vm.start", **fields: object
) -> Task:
    when = Now() - age
    return Task.objects.create(
        operation=operation, lane=Lane.CONTROL.value, state=state.value, created=when, ended=when, **fields
    )


def kept(**config: float) -> set[object]:
    pruner = Pruner(HistoryConfig(**config))
    pruner.look()
    pruner.look()  # parents go after their children
    return set(Task.objects.values_list("pk", flat=True))


def test_what_is_over_for_long_goes_with_its_children(database: None) -> None:
    parent = task(operation="vm.automirror")
    task(operation="vm.automirror.send", parent=parent)
    young, failed = task(timedelta(days=29)), task(timedelta(days=29), TaskState.FAILED)
    waits = task(state=TaskState.QUEUED)
    busy = task(operation="vm.automirror")
    runs = task(state=TaskState.RUNNING, parent=busy)
    assert kept() == {one.pk for one in (young, failed, waits, busy, runs)}


def test_the_last_good_backup_of_each_machine_by_each_schedule_stays_with_its_parent(database: None) -> None:
    stays = set()
    for vm, schedule in (("a", "daily"), ("a", "weekly"), ("b", "daily")):
        for age in (60, 50):
            parent = task(timedelta(days=age), operation="vm.autobackup")
            arguments = {"vm": vm, "schedule": schedule}
            one = task(timedelta(days=age), operation="vm.autobackup.write", arguments=arguments, parent=parent)
            stays |= {one.pk, parent.pk} if age == 50 else set()
        task(timedelta(days=45), TaskState.FAILED, "vm.autobackup.write", arguments=arguments)
    assert kept() == stays


def test_audit_entries_have_an_age_of_their_own_and_outlive_their_tasks(database: None) -> None:
    of = task()
    entry = Audit.objects.create(action="vm.start", at=Now() - OLD, task=of)
    Audit.objects.create(action="vm.stop", at=Now() - timedelta(days=401))
    assert kept() == set()
    assert list(Audit.objects.values_list("pk", "task")) == [(entry.pk, None)]


def test_nothing_goes_where_all_is_to_be_kept(database: None) -> None:
    one = task(timedelta(days=10_000))
    Audit.objects.create(action="vm.start", at=Now() - timedelta(days=10_000))
    assert kept(keep_tasks=0, keep_audit=0) == {one.pk}
    assert Audit.objects.count() == 1


def test_a_look_takes_some_and_the_next_goes_on(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_OLD", pruning._OLD.replace(f"LIMIT {pruning.BATCH}", "LIMIT 2"))
    for _ in range(5):
        task()
    pruner = Pruner(HistoryConfig())
    left = []
    for _ in range(4):
        pruner.look()
        left.append(Task.objects.count())
    assert left == [3, 1, 0, 0]
    task()
    pruner.look()
    assert Task.objects.count() == 1, "until the next hour"
