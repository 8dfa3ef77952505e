"""Tasks, the locks they hold while they are not over, and who asked for what."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now

from pvc_core.errors import PvcError
from pvc_core.model.task import Lane, TaskState

ANYWHERE = "cluster"  # where a task runs that any coordinator may take

CELERY_NAMES = {
    TaskState.QUEUED: "PENDING",
    TaskState.RUNNING: "RUNNING",
    TaskState.SUCCEEDED: "SUCCESS",
    TaskState.FAILED: "FAILURE",
    TaskState.CANCELLED: "REVOKED",
}


def _choices(enum: type[TaskState] | type[Lane]) -> list[tuple[str, str]]:
    return [(member.value, member.value) for member in enum]


class TaskQuerySet(models.QuerySet["Task"]):
    def unfinished(self) -> TaskQuerySet:
        return self.filter(state__in=(TaskState.QUEUED, TaskState.RUNNING))


class Task(models.Model):
    """One operation that was accepted. All times are the database's, so that clocks of nodes do not matter.

    A trigger of the database announces each change of state, progress or wish to cancel on the channel ``pvc_task``.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    operation = models.CharField(max_length=64)
    arguments = models.JSONField(default=dict)
    subject = models.CharField(max_length=255, blank=True, help_text="What it works on, for a person.")
    lane = models.CharField(max_length=16, choices=_choices(Lane))
    node = models.CharField(max_length=64, blank=True, help_text="Empty: any coordinator.")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="tasks"
    )

    state = models.CharField(max_length=16, choices=_choices(TaskState), default=TaskState.QUEUED.value)
    cancel_requested = models.BooleanField(default=False)
    current = models.PositiveIntegerField(default=0, help_text="Steps that are done.")
    total = models.PositiveIntegerField(default=1)
    message = models.TextField(blank=True)
    result = models.JSONField(null=True, blank=True)
    error_code = models.CharField(max_length=32, blank=True)
    left = models.JSONField(default=list, blank=True, help_text="What was begun and could not be undone.")

    worker = models.CharField(max_length=80, blank=True, help_text="Who runs it, or did.")
    claim = models.UUIDField(null=True, blank=True, unique=True, help_text="Of the worker that runs it now.")
    heartbeat = models.DateTimeField(null=True, blank=True)
    undoable = models.JSONField(
        default=list, blank=True, help_text="What is left behind if its worker dies now: as ``left``."
    )
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How often it was begun.")

    created = models.DateTimeField(db_default=Now())
    sent = models.DateTimeField(
        db_default=Now(), null=True, blank=True, help_text="When its message was sent. Empty: it has none."
    )
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        ordering = ("-created",)
        indexes = (
            models.Index(fields=["-created"], name="tasks_newest"),
            models.Index(
                fields=["state"], name="tasks_unfinished", condition=models.Q(state__in=("queued", "running"))
            ),
            models.Index(fields=["-ended"], name="tasks_failed", condition=models.Q(state="failed")),
            models.Index(
                KeyTextTransform("vm", "arguments"),
                KeyTextTransform("schedule", "arguments"),
                models.F("ended").desc(),
                name="tasks_backups",
                condition=models.Q(state="succeeded", operation="vm.autobackup.write"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.operation} {self.subject}".strip()

    @property
    def queue(self) -> str:
        return queue_name(self.node, Lane(self.lane))

    @property
    def run_on(self) -> str:
        """The node that runs it, once that is decided."""
        return self.worker.partition("@")[2] or self.node or ANYWHERE

    @property
    def over(self) -> bool:
        return TaskState(self.state).ended

    @property
    def failed(self) -> bool:
        return self.state in (TaskState.FAILED, TaskState.CANCELLED)

    @property
    def celery_state(self) -> str:
        return CELERY_NAMES[TaskState(self.state)]

    @property
    def error_status(self) -> int:
        """The HTTP status that stands for its error."""
        return _status_of(self.error_code)

    @property
    def requester(self) -> str:
        return self.requested_by.username if self.requested_by else ""


class TaskLock(models.Model):
    """What an unfinished task works on: a second task on the same thing is refused while this row is there."""

    what = models.CharField(max_length=255, primary_key=True)
    task = models.ForeignKey(Task, models.CASCADE, related_name="locks")


class Audit(models.Model):
    """Who asked for what, from where. Written in one transaction with what it tells of, and never changed; see
    ``HistoryConfig`` for how long it is kept."""

    at = models.DateTimeField(db_default=Now())
    user = models.CharField(max_length=64, blank=True, help_text="Empty: the cluster itself, by a schedule.")
    origin = models.CharField(max_length=64, blank=True, help_text="Address of the caller.")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=255, blank=True)
    arguments = models.JSONField(default=dict)
    task = models.ForeignKey(Task, models.SET_NULL, null=True, blank=True, related_name="audits")

    class Meta:
        ordering = ("-at",)
        indexes = (models.Index(fields=["-at"], name="audit_newest"),)
        verbose_name_plural = "audit"

    def __str__(self) -> str:
        return f"{self.user} {self.action} {self.subject}".strip()


def queue_name(node: str, lane: Lane) -> str:
    return f"{node or ANYWHERE}.{lane}"


def _status_of(code: str) -> int:
    kinds: list[type[PvcError]] = [PvcError]
    for kind in kinds:  # grows by the subclasses of each
        if kind.code == code:
            return kind.status
        kinds += kind.__subclasses__()
    return PvcError.status
