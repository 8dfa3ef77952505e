"""Shapes of schedules, targets and restore tests. Nothing here shows a secret."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django_celery_beat.models import PeriodicTask

from pvc_web.api.schema import Document
from pvc_web.schedules.models import BackupTarget, RestoreTestResult, Schedule


class ScheduleDocument(Document):
    name: str
    enabled: bool
    when: str
    last_run: float | None  # seconds since the epoch
    tags: list[str]
    vms: list[str]
    mail: list[str]
    errors_only: bool
    web_hook: str  # its host


class BackupScheduleDocument(ScheduleDocument):
    target: str
    keep: str
    full_interval: int
    compress: bool
    recipients: list[str]
    verify: bool
    mount: list[str]
    unmount: list[str]
    test_when: str
    test_sign: str
    test_argument: str
    test_timeout: int
    test_pool: str
    identity_file: str


class MirrorScheduleDocument(ScheduleDocument):
    peer: str
    pool: str
    keep: int
    peer_keep: int
    goal: int


DOCUMENTS = {"backup": BackupScheduleDocument, "mirror": MirrorScheduleDocument}


class TargetDocument(Document):
    name: str
    uri: str
    credentials: list[str]  # names of those that are set


class RestoreTestDocument(Document):
    schedule: str
    vm: str
    backup: str
    time: float  # seconds since the epoch
    seconds: float
    passed: bool
    message: str


def schedule_documents(schedules: Sequence[Schedule]) -> list[ScheduleDocument]:
    """Of schedules of one kind."""
    runs = _last_runs(schedules)
    return [
        DOCUMENTS[schedule.kind].of(schedule, last_run=runs.get(schedule.name), web_hook=_host(schedule.web_hook))
        for schedule in schedules
    ]


def _last_runs(schedules: Sequence[Schedule]) -> dict[str, float]:
    """When each schedule's entry was last due, by name, in seconds since the epoch."""
    entries = {f"{schedule.kind} {schedule.name}": schedule.name for schedule in schedules}
    found = PeriodicTask.objects.filter(name__in=entries).exclude(last_run_at=None)
    return {entries[name]: at.timestamp() for name, at in found.values_list("name", "last_run_at")}


def target_documents(targets: Sequence[BackupTarget]) -> list[TargetDocument]:
    return [TargetDocument.of(target, credentials=sorted(target.credentials)) for target in targets]


def test_document(test: RestoreTestResult) -> RestoreTestDocument:
    return RestoreTestDocument.of(test, time=test.at.timestamp())


def _host(url: str) -> str:
    return urlsplit(url).hostname or "" if url else ""
