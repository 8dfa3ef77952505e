"""Views of a machine's exports and backups."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import Unavailable
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.snapshot_steps import next_timestamp_name
from pvc_core.ops.vm_backup import VmBackupCreate, VmBackupRemove, VmRestore
from pvc_core.ops.vm_export import VmSnapshotExport
from pvc_core.ops.vm_import import VmSnapshotImport
from pvc_web.api.endpoints import ApiView, writes
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.nodes.lookup import find_node
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.serializers import (
    BackupCreateParameters,
    BackupRemoveParameters,
    BackupRestoreParameters,
    SnapshotExportParameters,
    SnapshotImportParameters,
)


def _placed(parameters: dict[str, Any]) -> dict[str, Any]:
    """With the node whose directories are meant; fixed now, since a task may outlive the primary."""
    if parameters["node"]:
        return parameters | {"node": find(find_node(parameters["node"]))[1].node.name}
    snapshot = cluster.view().snapshot()
    if snapshot.primary is None:
        raise Unavailable("there is no primary coordinator now: name the node whose directory is meant")
    return parameters | {"node": snapshot.primary.node}


def _name(vm: str, snapshot: ClusterSnapshot) -> str:
    """The name under which a machine's files lie, which may be all there is of it."""
    entry = snapshot.find_vm(vm)
    return entry.vm.name if entry is not None else vm


class VmSnapshotExportView(ApiView):
    @writes(VmSnapshotExport, summary="Export a snapshot", takes=SnapshotExportParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmSnapshotExport(entry.vm.uuid, **_placed(parameters)), status=202)


class VmSnapshotImportView(ApiView):
    @writes(VmSnapshotImport, summary="Import a machine", takes=SnapshotImportParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, VmSnapshotImport(vm, **_placed(parameters)), status=202)


class VmBackupView(ApiView):
    @writes(VmBackupCreate, summary="Back a machine up", takes=BackupCreateParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        name = next_timestamp_name(snapshot, entry.vm.uuid, time.time())
        return respond(request, VmBackupCreate(entry.vm.uuid, name, **_placed(parameters)))

    @writes(VmBackupRemove, summary="Remove a backup and its snapshot", takes=BackupRemoveParameters)
    def delete(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        name = _name(vm, cluster.view().snapshot())
        return respond(request, VmBackupRemove(name, **_placed(parameters)))


class VmRestoreView(ApiView):
    @writes(VmRestore, summary="Restore a machine from a backup", takes=BackupRestoreParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, VmRestore(vm, **_placed(parameters)))
