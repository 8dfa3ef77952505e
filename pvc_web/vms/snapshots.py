"""Views of a machine's snapshots."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.ops.snapshot_steps import next_timestamp_name
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove, VmSnapshotRollback
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.serializers import SnapshotParameters, SnapshotRollbackParameters, VmSnapshotCreateParameters
from pvc_web.vms.snapshot_documents import VmSnapshotDocument, differences_to, snapshot_documents


class VmSnapshotsView(ApiView):
    @reads(list[VmSnapshotDocument], "The snapshots of a machine, the newest first")
    def get(self, request: Request, vm: str) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        uuid = entry.vm.uuid
        return json_answer(snapshot_documents(snapshot, uuid, differences_to(snapshot.xmls.get(uuid, ""))))

    @writes(VmSnapshotCreate, summary="Take a snapshot", takes=VmSnapshotCreateParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        name = parameters["snapshot_name"] or next_timestamp_name(snapshot, entry.vm.uuid, time.time())
        return respond(request, VmSnapshotCreate(entry.vm.uuid, name), status=202)

    @writes(VmSnapshotRemove, summary="Remove a snapshot", takes=SnapshotParameters, status=202)
    def delete(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmSnapshotRemove(entry.vm.uuid, parameters["snapshot_name"]), status=202)


class VmSnapshotRollbackView(ApiView):
    @writes(
        VmSnapshotRollback, summary="Roll a machine back to a snapshot", takes=SnapshotRollbackParameters, status=202
    )
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        operation = VmSnapshotRollback(entry.vm.uuid, parameters["snapshot_name"], parameters["keep_config"])
        return respond(request, operation, status=202)
