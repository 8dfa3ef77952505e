"""Views of one side of a machine each: its state, node, metadata, tags, name, devices, locks and console."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.model.snapshot import ClusterSnapshot, ShownState, VmEntry
from pvc_core.ops.base import Operation
from pvc_core.ops.vm_devices import VmAttach, VmDetach, VmFlushLocks
from pvc_core.ops.vm_meta import VmMeta, VmRename, VmTag
from pvc_core.ops.vm_migrate import VmMigrate, VmMove, VmUnmigrate
from pvc_core.ops.vm_mirror_second import VmMirrorForce
from pvc_core.ops.vm_power import VmDisable, VmRestart, VmShutdown, VmStart, VmStop
from pvc_core.rules.lineage import hindrance
from pvc_web.api import logs
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.nodes.lookup import find_node
from pvc_web.nodes.serializers import LogParameters
from pvc_web.vms.documents import VmLog, VmMetadata, VmNode, VmState, VmTags, vm_metadata
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.serializers import (
    NodeAction,
    PowerAction,
    VmDeviceParameters,
    VmMetadataParameters,
    VmNodeParameters,
    VmRenameParameters,
    VmStateParameters,
    VmTagParameters,
)


def _is_led_elsewhere(snapshot: ClusterSnapshot, entry: VmEntry, action: PowerAction) -> bool:
    """Whether force is needed because another cluster leads the machine, or may."""
    if action is PowerAction.START:
        return hindrance(snapshot, entry.vm.uuid, time.time(), cluster.config().timing) != "" or _is_mirror(entry)
    return action in (PowerAction.STOP, PowerAction.DISABLE) and _is_mirror(entry)


def _is_mirror(entry: VmEntry) -> bool:
    return entry.shown_state is ShownState.MIRROR


class VmStateView(ApiView):
    @reads(VmState, "The state of a machine")
    def get(self, request: Request, vm: str) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return json_answer(VmState(name=entry.vm.name, state=entry.shown_state))

    @writes(
        VmStart,
        VmStop,
        VmShutdown,
        VmRestart,
        VmDisable,
        VmMirrorForce,
        summary="Start a machine, or end its run",
        takes=VmStateParameters,
    )
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        uuid, force = entry.vm.uuid, parameters["force"]
        operation: Operation
        match parameters["state"]:
            case action if force and _is_led_elsewhere(snapshot, entry, action):
                operation = VmMirrorForce(uuid, action.value)
            case PowerAction.START:
                operation = VmStart(uuid)
            case PowerAction.STOP:
                operation = VmStop(uuid)
            case PowerAction.SHUTDOWN:
                operation = VmShutdown(uuid)
            case PowerAction.RESTART:
                operation = VmRestart(uuid)
            case PowerAction.DISABLE:
                operation = VmDisable(uuid, force)
        return respond(request, operation, wait=parameters["wait"])


class VmNodeView(ApiView):
    @reads(VmNode, "Where a machine is")
    def get(self, request: Request, vm: str) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return json_answer(VmNode(name=entry.vm.name, node=entry.vm.node, last_node=entry.vm.last_node))

    @writes(VmMigrate, VmUnmigrate, VmMove, summary="Move a machine to another node", takes=VmNodeParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        uuid, node, force_live = entry.vm.uuid, parameters["node"], parameters["force_live"]
        operation: Operation
        match parameters["action"]:
            case NodeAction.MIGRATE:
                operation = VmMigrate(uuid, node, force=parameters["force"], force_live=force_live)
            case NodeAction.UNMIGRATE:
                operation = VmUnmigrate(uuid, force_live=force_live)
            case NodeAction.MOVE:
                operation = VmMove(uuid, node, force_live=force_live)
        return respond(request, operation, wait=parameters["wait"])


class VmMetadataView(ApiView):
    @reads(VmMetadata, "What the cluster knows of a machine beyond its XML")
    def get(self, request: Request, vm: str) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return json_answer(vm_metadata(entry))

    @writes(VmMeta, summary="Change that; what is not given stays as it is", takes=VmMetadataParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmMeta(entry.vm.uuid, **parameters))


class VmTagsView(ApiView):
    @reads(VmTags, "The tags of a machine")
    def get(self, request: Request, vm: str) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return json_answer(VmTags(name=entry.vm.name, tags=entry.vm.tags))

    @writes(VmTag, summary="Add or remove a tag", takes=VmTagParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        action = parameters["action"].value
        return respond(request, VmTag(entry.vm.uuid, action, parameters["tag"], parameters["protected"]))


class VmRenameView(ApiView):
    @writes(VmRename, summary="Rename a stopped machine", takes=VmRenameParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmRename(entry.vm.uuid, parameters["new_name"]))


class VmDeviceView(ApiView):
    @writes(VmAttach, summary="Plug a device in, now and in the stored XML", takes=VmDeviceParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmAttach(entry.vm.uuid, parameters["xml"]), status=202)

    @writes(VmDetach, summary="Unplug a device, now and in the stored XML", takes=VmDeviceParameters, status=202)
    def delete(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmDetach(entry.vm.uuid, parameters["xml"]), status=202)


class VmLocksView(ApiView):
    @writes(VmFlushLocks, summary="Break the locks on the disks of a machine that is off", status=202)
    def post(self, request: Request, vm: str) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmFlushLocks(entry.vm.uuid), status=202)


class VmConsoleView(ApiView):
    @reads(VmLog, "The newest lines of a machine's serial console", takes=LogParameters)
    def get(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        """Each node keeps what a machine wrote while it ran there: a machine that was migrated has two parts."""
        snapshot, entry = find(find_vm(vm))
        lines = parameters["lines"]
        path = f"/console/{entry.vm.uuid}"
        parts = [logs.fetch(cluster.config(), find_node(entry.vm.node)(snapshot).node, path, lines)]
        before = snapshot.nodes.get(entry.vm.last_node)
        if before is not None and before.runs:
            parts.append(logs.fetch(cluster.config(), before.node, path, lines))
        return json_answer(VmLog(name=entry.vm.name, data=logs.text(logs.merge(parts, lines))))
