"""Shapes of schedules, targets and restore tests. Nothing here shows a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from django_celery_beat.models import PeriodicTask

from pvc_web.api.schema import Document
from pvc_web.schedules.models import BackupSchedule, BackupTarget, MirrorSchedule, RestoreTestResult, Schedule


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


def last_runs(schedules: list[Schedule]) -> dict[str, float]:
    """When each schedule's entry was last due, by name, in seconds since the epoch."""
    entries = {f"{schedule.kind} {schedule.name}": schedule.name for schedule in schedules}
    found = PeriodicTask.objects.filter(name__in=entries).exclude(last_run_at=None)
    return {entries[name]: at.timestamp() for name, at in found.values_list("name", "last_run_at")}


def backup_document(schedule: BackupSchedule, last_run: float | None) -> BackupScheduleDocument:
    return BackupScheduleDocument(
        name=schedule.name,
        enabled=schedule.enabled,
        when=schedule.when,
        last_run=last_run,
        tags=schedule.tags,
        vms=schedule.vms,
        mail=schedule.mail,
        errors_only=schedule.errors_only,
        web_hook=_host(schedule.web_hook),
        target=schedule.target,
        keep=schedule.keep,
        full_interval=schedule.full_interval,
        compress=schedule.compress,
        recipients=schedule.recipients,
        verify=schedule.verify,
        mount=schedule.mount,
        unmount=schedule.unmount,
        test_when=schedule.test_when,
        test_sign=schedule.test_sign,
        test_argument=schedule.test_argument,
        test_timeout=schedule.test_timeout,
        test_pool=schedule.test_pool,
        identity_file=schedule.identity_file,
    )


def mirror_document(schedule: MirrorSchedule, last_run: float | None) -> MirrorScheduleDocument:
    return MirrorScheduleDocument(
        name=schedule.name,
        enabled=schedule.enabled,
        when=schedule.when,
        last_run=last_run,
        tags=schedule.tags,
        vms=schedule.vms,
        mail=schedule.mail,
        errors_only=schedule.errors_only,
        web_hook=_host(schedule.web_hook),
        peer=schedule.peer,
        pool=schedule.pool,
        keep=schedule.keep,
        peer_keep=schedule.peer_keep,
        goal=schedule.goal,
    )


def target_document(target: BackupTarget) -> TargetDocument:
    return TargetDocument(name=target.name, uri=target.uri, credentials=sorted(target.credentials))


def test_document(test: RestoreTestResult) -> RestoreTestDocument:
    return RestoreTestDocument(
        schedule=test.schedule,
        vm=test.vm,
        backup=test.backup,
        time=test.at.timestamp(),
        seconds=test.seconds,
        passed=test.passed,
        message=test.message,
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or "" if url else ""
