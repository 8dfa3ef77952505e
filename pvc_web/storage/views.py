"""Views of pools and volumes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import Unavailable
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import StorageStatus
from pvc_core.ops.pool import PoolCreate, PoolRemove, PoolSetPgs, PoolSetReplication
from pvc_core.ops.volume import (
    VolumeClone,
    VolumeCreate,
    VolumeRemove,
    VolumeRename,
    VolumeResize,
    VolumeScan,
)
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.parameters import SureParameters
from pvc_web.api.work import respond
from pvc_web.cluster.documents import primary_name
from pvc_web.config import cluster
from pvc_web.storage.documents import (
    CephDocument,
    PoolDocument,
    VolumeDocument,
    pool_document,
    volume_document,
)
from pvc_web.storage.lookup import find_pool, find_volume
from pvc_web.storage.serializers import (
    PoolAddParameters,
    PoolCreateParameters,
    PoolListParameters,
    PoolModifyParameters,
    VolumeAddParameters,
    VolumeCloneParameters,
    VolumeCreateParameters,
    VolumeListParameters,
    VolumeModifyParameters,
)


def _storage(snapshot: ClusterSnapshot) -> StorageStatus:
    if snapshot.storage is None:
        raise Unavailable("the storage cluster has not reported yet; try again in a few seconds")
    return snapshot.storage


class CephStatus(ApiView):
    @reads(CephDocument, "Status of the storage cluster, as Ceph words it")
    def get(self, request: Request) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        text = _storage(snapshot).status_text
        return json_answer(CephDocument(type="status", primary_node=primary_name(snapshot), ceph_data=text))


class CephUtilization(ApiView):
    @reads(CephDocument, "Use of the storage cluster, as Ceph words it")
    def get(self, request: Request) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        text = _storage(snapshot).utilization_text
        return json_answer(CephDocument(type="utilization", primary_node=primary_name(snapshot), ceph_data=text))


def _create_pool(request: Request, name: str, parameters: dict[str, Any]) -> HttpResponse:
    replicas, min_replicas = parameters["replcfg"]
    return respond(request, PoolCreate(name, parameters["pgs"], replicas, min_replicas, parameters["tier"]))


class PoolList(ApiView):
    @reads(list[PoolDocument], "All pools", takes=PoolListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        pools = [pool for name, pool in sorted(snapshot.pools.items()) if matches(parameters["limit"], (name,))]
        return page_answer(pools, parameters, lambda pool: pool_document(pool, snapshot))

    @writes(PoolCreate, summary="Create a pool", takes=PoolCreateParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return _create_pool(request, parameters["pool"], parameters)


class PoolDetail(ApiView):
    @reads(PoolDocument, "One pool")
    def get(self, request: Request, pool: str) -> HttpResponse:
        snapshot, found = find(find_pool(pool))
        return json_answer(pool_document(found, snapshot))

    @writes(PoolCreate, summary="Create a pool of this name", takes=PoolAddParameters)
    def post(self, request: Request, pool: str, parameters: dict[str, Any]) -> HttpResponse:
        return _create_pool(request, pool, parameters)

    @writes(
        PoolSetPgs,
        PoolSetReplication,
        summary="Change the placement groups or the copies of a pool",
        takes=PoolModifyParameters,
    )
    def put(self, request: Request, pool: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_pool(pool))
        if parameters["replcfg"] is not None:
            return respond(request, PoolSetReplication(pool, *parameters["replcfg"]))
        return respond(request, PoolSetPgs(pool, parameters["pgs"]))

    @writes(PoolRemove, summary="Remove a pool with all its volumes", takes=SureParameters)
    def delete(self, request: Request, pool: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_pool(pool))
        return respond(request, PoolRemove(pool))


class VolumeList(ApiView):
    @reads(list[VolumeDocument], "All volumes", takes=VolumeListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        if parameters["pool"] is not None:
            find_pool(parameters["pool"])(snapshot)
        volumes = [
            volume
            for _, volume in sorted(snapshot.volumes.items())
            if parameters["pool"] in (None, volume.pool) and matches(parameters["limit"], (volume.name,))
        ]
        return page_answer(volumes, parameters, volume_document)

    @writes(VolumeCreate, summary="Create a volume", takes=VolumeCreateParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        find(find_pool(parameters["pool"]))
        return respond(request, VolumeCreate(**parameters))


class VolumeDetail(ApiView):
    @reads(VolumeDocument, "One volume")
    def get(self, request: Request, pool: str, volume: str) -> HttpResponse:
        _, found = find(find_volume(pool, volume))
        return json_answer(volume_document(found))

    @writes(VolumeCreate, summary="Create a volume of this name", takes=VolumeAddParameters)
    def post(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_pool(pool))
        return respond(request, VolumeCreate(pool, volume, **parameters))

    @writes(VolumeResize, VolumeRename, summary="Grow or rename a volume", takes=VolumeModifyParameters)
    def put(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_volume(pool, volume))
        if parameters["new_name"] is not None:
            return respond(request, VolumeRename(pool, volume, parameters["new_name"]))
        return respond(request, VolumeResize(pool, volume, parameters["new_size"], force=parameters["force"]))

    @writes(VolumeRemove, summary="Remove a volume with its data")
    def delete(self, request: Request, pool: str, volume: str) -> HttpResponse:
        find(find_volume(pool, volume))
        return respond(request, VolumeRemove(pool, volume))


class VolumeCloneView(ApiView):
    @writes(VolumeClone, summary="Copy a volume into a new one", takes=VolumeCloneParameters)
    def post(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_volume(pool, volume))
        return respond(request, VolumeClone(pool, volume, **parameters))


class VolumeScanView(ApiView):
    @writes(VolumeScan, summary="Read anew what Ceph knows of a volume, which may have been made without PVC")
    def post(self, request: Request, pool: str, volume: str) -> HttpResponse:
        find(find_pool(pool))
        return respond(request, VolumeScan(pool, volume))
