"""Views of schedules, targets and restore tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from pvc_web.api.parameters import Parameters
from pvc_web.api.schema import Document, Message
from pvc_web.api.work import respond
from pvc_web.database.names import find
from pvc_web.schedules import changes
from pvc_web.schedules.documents import (
    BackupScheduleDocument,
    MirrorScheduleDocument,
    RestoreTestDocument,
    TargetDocument,
    schedule_documents,
    target_documents,
    test_document,
)
from pvc_web.schedules.models import BackupSchedule, BackupTarget, MirrorSchedule, RestoreTestResult, Schedule
from pvc_web.schedules.serializers import (
    CREDENTIALS,
    AutobackupParameters,
    AutomirrorParameters,
    BackupScheduleParameters,
    MirrorScheduleParameters,
    NewBackupParameters,
    NewMirrorParameters,
    NewTargetParameters,
    PreviewParameters,
    TargetParameters,
    TestListParameters,
)


@dataclass(frozen=True)
class Kind:
    """What is kept under names, and the summaries of the calls on it."""

    model: type[Any]
    document: type[Document]
    documents: Callable[[list[Any]], list[Any]]
    takes: type[Parameters]
    takes_new: type[Parameters]
    all: str
    one: str
    make: str
    change: str
    removal: str
    made: str = "made"
    fields: Callable[[Any, dict[str, Any]], dict[str, Any]] = lambda _, parameters: parameters
    check_removal: Callable[[Any], None] = lambda _: None


def views_of(kind: Kind, name: str) -> tuple[type[ApiView], type[ApiView]]:
    """The views of all things of this kind, and of one; named so, with ``List`` and ``Detail``."""

    class ThingList(ApiView):
        @reads(list[kind.document], kind.all)
        def get(self, request: Request) -> HttpResponse:
            return json_answer(kind.documents(list(kind.model.objects.all())))

        @acts(Message, Role.ADMINISTRATOR, summary=kind.make, takes=kind.takes_new)
        def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
            name, fields = parameters.pop("name"), kind.fields(kind.model(), parameters)
            return _say(changes.create(request, kind.model, name, fields), kind.made)

    class ThingDetail(ApiView):
        @reads(kind.document, kind.one)
        def get(self, request: Request, name: str) -> HttpResponse:
            (document,) = kind.documents([find(kind.model, name)])
            return json_answer(document)

        @acts(Message, Role.ADMINISTRATOR, summary=kind.change, takes=kind.takes)
        def put(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
            found = find(kind.model, name)
            return _say(changes.modify(request, found, kind.fields(found, parameters)), "changed")

        @acts(Message, Role.ADMINISTRATOR, summary=kind.removal)
        def delete(self, request: Request, name: str) -> HttpResponse:
            found = find(kind.model, name)
            kind.check_removal(found)
            changes.remove(request, found)
            return _say(found, "removed")

    ThingList.__name__, ThingDetail.__name__ = f"{name}List", f"{name}Detail"
    return ThingList, ThingDetail


def _say(thing: Any, verb: str) -> HttpResponse:
    return json_answer(Message(message=f"{thing._meta.verbose_name} {thing} is {verb}".capitalize()))


def _with_credentials(target: BackupTarget, parameters: dict[str, Any]) -> dict[str, Any]:
    given = {key: parameters.pop(key) for key in CREDENTIALS if parameters.get(key) is not None}
    return parameters | {"credentials": {key: value for key, value in (target.credentials | given).items() if value}}


def _check_unused(target: BackupTarget) -> None:
    users = ", ".join(BackupSchedule.objects.filter(target=target.name).values_list("name", flat=True))
    if users:
        raise Conflict(f"target {target} is used by schedule {users}")


BACKUP = Kind(
    BackupSchedule,
    BackupScheduleDocument,
    schedule_documents,
    BackupScheduleParameters,
    NewBackupParameters,
    all="All schedules of backups",
    one="One schedule of backups",
    make="Make a schedule of backups",
    change="Change a schedule of backups",
    removal="Remove a schedule; its backups stay",
)
MIRROR = Kind(
    MirrorSchedule,
    MirrorScheduleDocument,
    schedule_documents,
    MirrorScheduleParameters,
    NewMirrorParameters,
    all="All schedules of mirrors",
    one="One schedule of mirrors",
    make="Make a schedule of mirrors",
    change="Change a schedule of mirrors",
    removal="Remove a schedule; its mirrors stay",
)
TARGET = Kind(
    BackupTarget,
    TargetDocument,
    target_documents,
    TargetParameters,
    NewTargetParameters,
    all="All stored targets of backups",
    one="One stored target of backups",
    make="Store a target with its credentials",
    change="Change a target; an empty credential is removed",
    removal="Forget a target; what is there stays",
    made="stored",
    fields=_with_credentials,
    check_removal=_check_unused,
)
BackupScheduleList, BackupScheduleDetail = views_of(BACKUP, "BackupSchedule")
MirrorScheduleList, MirrorScheduleDetail = views_of(MIRROR, "MirrorSchedule")
TargetList, TargetDetail = views_of(TARGET, "Target")


class BackupSchedulePreview(ApiView):
    @writes(AutobackupPreview, summary="See which backups the retention would remove", takes=PreviewParameters)
    def post(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, AutobackupPreview(find(BackupSchedule, name).name, parameters["keep"]))


class RestoreTestList(ApiView):
    @reads(
        list[RestoreTestDocument], "How restore tests of a schedule ended, the newest first", takes=TestListParameters
    )
    def get(self, request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
        found = RestoreTestResult.objects.filter(schedule=name)[: parameters["limit"]]
        return json_answer([test_document(test) for test in found])

    @writes(RestoreTest, summary="Try now whether the newest backups restore", status=202)
    def post(self, request: Request, name: str) -> HttpResponse:
        if not find(BackupSchedule, name).test_when:
            raise Conflict(f"schedule {name} has no restore test: set test_when and test_sign")
        return respond(request, RestoreTest(name), status=202)


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
    chosen = [find(kind, name).name for name in names]
    chosen = chosen or list(kind._default_manager.filter(enabled=True).values_list("name", flat=True))
    if not chosen:
        raise BadRequest(f"there is no enabled {kind._meta.verbose_name}; make one first")
    return tuple(chosen)
