"""Schedules of backups and mirrors, where backups are kept, and how restore tests ended."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator, validate_email
from django.db import models, transaction
from django_celery_beat.models import PeriodicTask

from pvc_core.errors import BadRequest
from pvc_core.model.backup import BootSign, Retention
from pvc_core.transfer.encryption import read_recipients
from pvc_web.database.names import those_there
from pvc_web.peers.models import Peer
from pvc_web.schedules.when import check_when, schedule_of

check_name = RegexValidator(
    r"\A[a-z0-9][a-z0-9_-]{0,39}\Z",
    "a name has lower-case letters, digits, dashes and underscores, begins with a letter or a digit, and has at most "
    "40 characters",
)


class BackupTarget(models.Model):
    """A store of backups that needs credentials. Those are kept as they are, since they have to be shown to the store;
    nothing here ever shows them again."""

    name = models.CharField(max_length=40, unique=True, validators=[check_name])
    uri = models.CharField(
        "URI",
        max_length=500,
        help_text="s3://bucket/prefix?endpoint=https://host:port, sftp://user@host:port/path, or file:///path",
    )
    credentials = models.JSONField(default=dict, blank=True, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        try:
            parts = urlsplit(self.uri)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("s3", "sftp", "file"):
            raise ValidationError({"uri": f"{self.uri!r} begins with none of s3://, sftp:// and file://"})
        if parts.password:
            raise ValidationError({"uri": "a password belongs into the credentials, since the URI is shown"})
        if not all(isinstance(value, str) for value in self.credentials.values()):
            raise ValidationError({"credentials": "must be texts by name"})


class Schedule(models.Model):
    """What both kinds have in common. Saving one makes its entries among the periodic tasks."""

    operation = ""  # what is done each time
    kind = ""

    name = models.CharField(max_length=40, unique=True, validators=[check_name])
    enabled = models.BooleanField(default=True)
    when = models.CharField(max_length=100, validators=[check_when], help_text="As for cron, in UTC, or 15m, 6h, 1d.")
    tags = models.JSONField(default=list, blank=True, help_text="Machines with any of these tags.")
    vms = models.JSONField("VMs", default=list, blank=True, help_text="Names or uuids of further machines.")
    mail = models.JSONField(default=list, blank=True, help_text="Who gets a report.")
    errors_only = models.BooleanField(default=False, help_text="A report only when something failed.")
    web_hook = models.CharField(max_length=500, blank=True, help_text="URL that gets the report as JSON; kept secret.")

    class Meta:
        abstract = True
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        for field in ("tags", "vms", "mail"):
            _check_words(field, getattr(self, field))
        if not self.tags and not self.vms:
            raise ValidationError({"tags": "name a tag or a VM"})
        for address in self.mail:
            validate_email(address)
        if self.web_hook and urlsplit(self.web_hook).scheme not in ("http", "https"):
            raise ValidationError({"web_hook": "must be a URL that begins with https:// or http://"})

    def entries(self) -> dict[str, tuple[str, dict[str, Any], str, bool]]:
        """The periodic tasks, by name: operation, arguments, when, whether it is enabled."""
        return {f"{self.kind} {self.name}": (self.operation, {"schedules": [self.name]}, self.when, self.enabled)}

    def save(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            super().save(*args, **options)
            for name, (operation, arguments, when, enabled) in self.entries().items():
                defaults = {"task": operation, "kwargs": json.dumps(arguments), "enabled": enabled}
                PeriodicTask.objects.update_or_create(name=name, defaults=defaults | schedule_of(when))

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            for entry in PeriodicTask.objects.filter(name__in=self.entries()):
                entry.delete()
            return super().delete(*args, **options)


class BackupSchedule(Schedule):
    operation = "vm.autobackup"
    kind = "backup"

    target = models.CharField(
        max_length=500, help_text="An absolute directory of the nodes, or a stored target's name."
    )
    keep = models.CharField(
        max_length=100, blank=True, help_text="Such as last=3,daily=7,weekly=4, or full=2. Empty: everything."
    )
    full_interval = models.PositiveSmallIntegerField(default=1, help_text="Every so-manieth backup is a full one.")
    compress = models.BooleanField(default=True)
    recipients = models.JSONField(default=list, blank=True, help_text="Public keys of age; none: not encrypted.")
    verify = models.BooleanField(default=False, help_text="Read each backup back at once.")
    mount = models.JSONField(default=list, blank=True, help_text="Commands before a run, without a shell.")
    unmount = models.JSONField(default=list, blank=True, help_text="Commands after it.")
    test_when = models.CharField(
        max_length=100, blank=True, help_text="When the newest backups are restored for a try. Empty: never."
    )
    test_sign = models.CharField(
        max_length=16, default=BootSign.AGENT.value, choices=[(sign.value, sign.value) for sign in BootSign]
    )
    test_argument = models.CharField(
        max_length=500, blank=True, help_text="A regular expression for the console, or the command."
    )
    test_timeout = models.PositiveIntegerField(default=300, help_text="Seconds.")
    test_pool = models.CharField(max_length=100, blank=True, help_text="Empty: the pools the disks came from.")
    identity_file = models.CharField(
        max_length=500, blank=True, help_text="File on the nodes with the age identity that decrypts the backups."
    )

    def clean(self) -> None:
        super().clean()
        _check_words("recipients", self.recipients)
        try:
            Retention.parse(self.keep)
            read_recipients(self.recipients)
        except BadRequest as error:
            raise ValidationError({"recipients" if "recipient" in str(error) else "keep": str(error)}) from None
        if not 1 <= self.full_interval <= 1000:
            raise ValidationError({"full_interval": "must be from 1 to 1000"})
        if not self.target.startswith("/") and not BackupTarget.objects.filter(name=self.target).exists():
            wrong = (
                f"{self.target!r} is neither an absolute path nor a stored target, of which {those_there(BackupTarget)}"
            )
            raise ValidationError({"target": wrong})
        for field in ("mount", "unmount"):
            _check_commands(field, getattr(self, field))
        self._clean_test()

    def _clean_test(self) -> None:
        if not self.test_when:
            return
        check_when(self.test_when)
        if self.recipients and not self.identity_file:
            raise ValidationError({"identity_file": "is needed to test backups that are encrypted"})
        if self.test_sign == BootSign.SCRIPT:
            _check_commands("test_argument", [self.test_argument])
        if self.test_sign == BootSign.CONSOLE:
            try:
                re.compile(self.test_argument)
            except re.error as error:
                raise ValidationError({"test_argument": f"is no regular expression: {error}"}) from None
            if not self.test_argument:
                raise ValidationError({"test_argument": "say which text on the console shows that it has booted"})

    def entries(self) -> dict[str, tuple[str, dict[str, Any], str, bool]]:
        test = (
            "vm.restore_test",
            {"schedule": self.name},
            self.test_when or "1d",
            self.enabled and bool(self.test_when),
        )
        return super().entries() | {f"restore test {self.name}": test}


class MirrorSchedule(Schedule):
    operation = "vm.automirror"
    kind = "mirror"

    peer = models.CharField(max_length=100, help_text="The other cluster.")
    pool = models.CharField(max_length=100, blank=True, help_text="There. Empty: pools of the same names.")
    keep = models.PositiveSmallIntegerField(default=3, help_text="Snapshots that are kept here.")
    peer_keep = models.PositiveSmallIntegerField(default=3, help_text="Snapshots that are kept there.")
    goal = models.PositiveIntegerField(default=0, help_text="Seconds of lag that are a fault. 0: none.")

    def clean(self) -> None:
        super().clean()
        if not Peer.objects.filter(name=self.peer).exists():
            raise ValidationError({"peer": f"there is no cluster {self.peer!r}; {those_there(Peer)}"})
        for field in ("keep", "peer_keep"):
            if getattr(self, field) < 1:
                raise ValidationError({field: "must be 1 or more, since the next difference is made from the last one"})


class RestoreTestResult(models.Model):
    """One try to restore a backup."""

    schedule = models.CharField(max_length=40)
    vm = models.CharField("VM", max_length=100)
    backup = models.CharField(max_length=200)
    at = models.DateTimeField()
    seconds = models.FloatField()
    passed = models.BooleanField()
    message = models.TextField()

    class Meta:
        ordering = ("-at",)
        indexes = (models.Index(fields=["schedule", "-at"], name="restore_tests_newest"),)

    def __str__(self) -> str:
        return f"{self.vm} {self.backup}"


def _check_words(field: str, words: Any) -> None:
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise ValidationError({field: "must be a list of texts"})


def _check_commands(field: str, commands: Any) -> None:
    _check_words(field, commands)
    for command in commands:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValidationError({field: f"{command!r}: {error}"}) from None
        if not words or not words[0].startswith("/"):
            raise ValidationError({field: f"{command!r} must begin with the absolute path of a program"})
