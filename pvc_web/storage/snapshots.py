"""Views of snapshots of single volumes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.ops.volume_snapshot import (
    VolumeSnapshotCreate,
    VolumeSnapshotProtect,
    VolumeSnapshotRemove,
    VolumeSnapshotRename,
    VolumeSnapshotRollback,
)
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.storage.documents import SnapshotDocument, snapshot_document
from pvc_web.storage.lookup import find_pool, find_snapshot, find_volume
from pvc_web.storage.serializers import (
    SnapshotAddParameters,
    SnapshotCreateParameters,
    SnapshotListParameters,
    SnapshotModifyParameters,
)


class SnapshotList(ApiView):
    @reads(list[SnapshotDocument], "Snapshots of volumes", takes=SnapshotListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        if parameters["pool"] is not None:
            find_pool(parameters["pool"])(snapshot)
        found = [
            (volume, item)
            for _, volume in sorted(snapshot.volumes.items())
            if parameters["pool"] in (None, volume.pool) and parameters["volume"] in (None, volume.name)
            for item in volume.snapshots
            if matches(parameters["limit"], (item.name,))
        ]
        return page_answer(found, parameters, lambda pair: snapshot_document(*pair, snapshot))

    @writes(VolumeSnapshotCreate, summary="Take a snapshot of a volume", takes=SnapshotCreateParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return _create(request, parameters["pool"], parameters["volume"], parameters["snapshot"], parameters["force"])


class SnapshotDetail(ApiView):
    @reads(SnapshotDocument, "One snapshot of a volume")
    def get(self, request: Request, pool: str, volume: str, snapshot: str) -> HttpResponse:
        now, found = find(find_snapshot(pool, volume, snapshot))
        return json_answer(snapshot_document(*found, now))

    @writes(VolumeSnapshotCreate, summary="Take a snapshot of this name", takes=SnapshotAddParameters)
    def post(self, request: Request, pool: str, volume: str, snapshot: str, parameters: dict[str, Any]) -> HttpResponse:
        return _create(request, pool, volume, snapshot, parameters["force"])

    @writes(
        VolumeSnapshotRename,
        VolumeSnapshotProtect,
        summary="Rename a snapshot of a volume, or protect it",
        takes=SnapshotModifyParameters,
    )
    def put(self, request: Request, pool: str, volume: str, snapshot: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_snapshot(pool, volume, snapshot))
        if parameters["new_name"] is not None:
            return respond(request, VolumeSnapshotRename(pool, volume, snapshot, parameters["new_name"]))
        return respond(request, VolumeSnapshotProtect(pool, volume, snapshot, parameters["protected"]))

    @writes(VolumeSnapshotRemove, summary="Remove a snapshot of a volume")
    def delete(self, request: Request, pool: str, volume: str, snapshot: str) -> HttpResponse:
        find(find_snapshot(pool, volume, snapshot))
        return respond(request, VolumeSnapshotRemove(pool, volume, snapshot))


class SnapshotRollback(ApiView):
    @writes(VolumeSnapshotRollback, summary="Roll a volume back to a snapshot")
    def post(self, request: Request, pool: str, volume: str, snapshot: str) -> HttpResponse:
        find(find_snapshot(pool, volume, snapshot))
        return respond(request, VolumeSnapshotRollback(pool, volume, snapshot))


def _create(request: Request, pool: str, volume: str, name: str, force: bool) -> HttpResponse:
    find(find_volume(pool, volume))
    return respond(request, VolumeSnapshotCreate(pool, volume, name, force=force))
