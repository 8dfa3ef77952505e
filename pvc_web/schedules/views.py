"""Views of schedules, targets and restore tests."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.task import Role
from pvc_core.ops.autobackup import Autobackup, AutobackupPreview
from pvc_core.ops.automirror import Automirror
from pvc_core.ops.restore_test import RestoreTest
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, reads, writes
from pvc_web.api.schema import Message
from pvc_web.api.work import respond
from pvc_web.schedules import changes
from pvc_web.schedules.documents import (
    BackupScheduleDocument,
    MirrorScheduleDocument,
    RestoreTestDocument,
    TargetDocument,
    backup_document,
    last_runs,
    mirror_document,
    target_document,
    test_document,
)
from pvc_web.schedules.models import BackupSchedule, BackupTarget, MirrorSchedule, RestoreTestResult, Schedule
from pvc_web.schedules.serializers import (
    AutobackupParameters,
    AutomirrorParameters,
    BackupScheduleParameters,
    MirrorScheduleParameters,
    NameParameters,
    PreviewParameters,
    TargetParameters,
    TestListParameters,
)

CREDENTIALS = ("access_key", "secret_key", "password", "private_key", "host_key")


class NewBackupParameters(NameParameters, BackupScheduleParameters):
    pass


class NewMirrorParameters(NameParameters, MirrorScheduleParameters):
    pass


class NewTargetParameters(NameParameters, TargetParameters):
    pass


def _say(thing: Any, verb: str) -> HttpResponse:
    return json_answer(Message(message=f"{thing._meta.verbose_name} {thing} is {verb}".capitalize()))


class BackupScheduleList(ApiView):
    @reads(list[BackupScheduleDocument], "All schedules of backups")
    def get(self, request: Request) -> HttpResponse:
        schedules = list(BackupSchedule.objects.all())
        runs = last_runs(schedules)
        return json_answer([backup_document(each, runs.get(each.name)) for each in schedules])

    @acts(Message, Role.ADMINISTRATOR, summary="Make a schedule of backups", takes=NewBackupParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return _say(changes.create(request, BackupSchedule, parameters.pop("name"), parameters), "made")


class BackupScheduleDetail(ApiView):
    @reads(BackupScheduleDocument, "One schedule of backups")
    def get(self, request: Request, name: str) -> HttpResponse:
        found = changes.find(BackupSchedule, name)
        return json_answer(backup_document(found, last_runs([found]).get(name)))

    @acts(Message, Role.ADMINISTRATOR, summary="Change a schedule of backups", takes=BackupScheduleParameters)
    def put(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        return _say(changes.modify(request, changes.find(BackupSchedule, name), parameters), "changed")

    @acts(Message, Role.ADMINISTRATOR, summary="Remove a schedule; its backups stay")
    def delete(self, request: Request, name: str) -> HttpResponse:
        found = changes.find(BackupSchedule, name)
        changes.remove(request, found)
        return _say(found, "removed")


class BackupSchedulePreview(ApiView):
    @writes(AutobackupPreview, summary="See which backups the retention would remove", takes=PreviewParameters)
    def post(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, AutobackupPreview(changes.find(BackupSchedule, name).name, parameters["keep"]))


class RestoreTestList(ApiView):
    @reads(
        list[RestoreTestDocument], "How restore tests of a schedule ended, the newest first", takes=TestListParameters
    )
    def get(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        found = RestoreTestResult.objects.filter(schedule=name)[: parameters["limit"]]
        return json_answer([test_document(test) for test in found])

    @writes(RestoreTest, summary="Try now whether the newest backups restore", status=202)
    def post(self, request: Request, name: str) -> HttpResponse:
        if not changes.find(BackupSchedule, name).test_when:
            raise Conflict(f"schedule {name} has no restore test: set test_when and test_sign")
        return respond(request, RestoreTest(name), status=202)


class MirrorScheduleList(ApiView):
    @reads(list[MirrorScheduleDocument], "All schedules of mirrors")
    def get(self, request: Request) -> HttpResponse:
        schedules = list(MirrorSchedule.objects.all())
        runs = last_runs(schedules)
        return json_answer([mirror_document(each, runs.get(each.name)) for each in schedules])

    @acts(Message, Role.ADMINISTRATOR, summary="Make a schedule of mirrors", takes=NewMirrorParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return _say(changes.create(request, MirrorSchedule, parameters.pop("name"), parameters), "made")


class MirrorScheduleDetail(ApiView):
    @reads(MirrorScheduleDocument, "One schedule of mirrors")
    def get(self, request: Request, name: str) -> HttpResponse:
        found = changes.find(MirrorSchedule, name)
        return json_answer(mirror_document(found, last_runs([found]).get(name)))

    @acts(Message, Role.ADMINISTRATOR, summary="Change a schedule of mirrors", takes=MirrorScheduleParameters)
    def put(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        return _say(changes.modify(request, changes.find(MirrorSchedule, name), parameters), "changed")

    @acts(Message, Role.ADMINISTRATOR, summary="Remove a schedule; its mirrors stay")
    def delete(self, request: Request, name: str) -> HttpResponse:
        found = changes.find(MirrorSchedule, name)
        changes.remove(request, found)
        return _say(found, "removed")


class TargetList(ApiView):
    @reads(list[TargetDocument], "All stored targets of backups")
    def get(self, request: Request) -> HttpResponse:
        return json_answer([target_document(target) for target in BackupTarget.objects.all()])

    @acts(Message, Role.ADMINISTRATOR, summary="Store a target with its credentials", takes=NewTargetParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        name, fields = parameters.pop("name"), _with_credentials({}, parameters)
        return _say(changes.create(request, BackupTarget, name, fields), "stored")


class TargetDetail(ApiView):
    @reads(TargetDocument, "One stored target of backups")
    def get(self, request: Request, name: str) -> HttpResponse:
        return json_answer(target_document(changes.find(BackupTarget, name)))

    @acts(
        Message, Role.ADMINISTRATOR, summary="Change a target; an empty credential is removed", takes=TargetParameters
    )
    def put(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        found = changes.find(BackupTarget, name)
        return _say(changes.modify(request, found, _with_credentials(found.credentials, parameters)), "changed")

    @acts(Message, Role.ADMINISTRATOR, summary="Forget a target; what is there stays")
    def delete(self, request: Request, name: str) -> HttpResponse:
        found = changes.find(BackupTarget, name)
        users = ", ".join(BackupSchedule.objects.filter(target=name).values_list("name", flat=True))
        if users:
            raise Conflict(f"target {name} is used by schedule {users}")
        changes.remove(request, found)
        return _say(found, "removed")


def _with_credentials(before: dict[str, str], parameters: dict[str, Any]) -> dict[str, Any]:
    given = {key: parameters.pop(key) for key in CREDENTIALS if parameters.get(key) is not None}
    return parameters | {"credentials": {key: value for key, value in (before | given).items() if value}}


class AutobackupView(ApiView):
    @writes(Autobackup, summary="Run schedules of backups now", takes=AutobackupParameters, status=202)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        names = _chosen(BackupSchedule, parameters["schedule"])
        operation = Autobackup(names, parameters["force_full"], parameters["email_recipients"])
        return respond(request, operation, status=202)


class AutomirrorView(ApiView):
    @writes(Automirror, summary="Run schedules of mirrors now", takes=AutomirrorParameters, status=202)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        names = _chosen(MirrorSchedule, parameters["schedule"])
        operation = Automirror(names, parameters["email_recipients"], parameters["email_errors_only"])
        return respond(request, operation, status=202)


def _chosen(kind: type[Schedule], names: tuple[str, ...]) -> tuple[str, ...]:
    """The named schedules, or all that are enabled. Raises NotFound, and BadRequest when there are none."""
    chosen = [changes.find(kind, name).name for name in names]
    chosen = chosen or list(kind._default_manager.filter(enabled=True).values_list("name", flat=True))
    if not chosen:
        raise BadRequest(f"there is no enabled {kind._meta.verbose_name}; make one first")
    return tuple(chosen)
