"""Views of the cluster as a whole."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.model.task import Role
from pvc_core.ops.cluster import ClusterMaintenance
from pvc_core.ops.cluster_restore import ClusterInitialize, ClusterRestore
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, reads, writes
from pvc_web.api.schema import Message
from pvc_web.api.work import answer, respond
from pvc_web.cluster import backups
from pvc_web.cluster.documents import BackupDocument, ClusterStatus, PrimaryNode, cluster_status
from pvc_web.cluster.serializers import InitializeParameters, MaintenanceParameters, RestoreParameters
from pvc_web.config import cluster

API_VERSION = "1.0"


class Root(ApiView):
    @reads(Message, "The version of this API")
    def get(self, request: Request) -> HttpResponse:
        return json_answer(Message(message=f"PVC API version {API_VERSION}"))


class Status(ApiView):
    @reads(ClusterStatus, "The whole cluster at a glance")
    def get(self, request: Request) -> HttpResponse:
        return json_answer(cluster_status(cluster.view().snapshot(), cluster.config()))

    @writes(ClusterMaintenance, summary="Turn maintenance on or off", takes=MaintenanceParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, ClusterMaintenance(parameters["state"]))


class Primary(ApiView):
    @reads(PrimaryNode, "Which node is primary", empty="There is no primary now")
    def get(self, request: Request) -> HttpResponse:
        primary = cluster.view().snapshot().primary
        return HttpResponse(status=204) if primary is None else json_answer(PrimaryNode(primary_node=primary.node))


class Backup(ApiView):
    @acts(BackupDocument, Role.ADMINISTRATOR, summary="The configuration of the whole cluster, with its secrets")
    def get(self, request: Request) -> HttpResponse:
        return json_answer(backups.back_up(request))


class Restore(ApiView):
    longest_body = 256 << 20  # a machine needs a few KiB

    @writes(ClusterRestore, summary="Put a backup in the place of the configuration", takes=RestoreParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        task = backups.restore(request, parameters["cluster_data"])
        return answer(request, task, wait=True, status=200)


class Initialize(ApiView):
    @writes(ClusterInitialize, summary="Erase the configuration", takes=InitializeParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        task = backups.initialize(request, overwrite=parameters["overwrite"])
        return answer(request, task, wait=True, status=200)
