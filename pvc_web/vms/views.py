"""Views of machines: what they are, and what is done with them as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import NotFound
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.ops.vm_define import VmDefine, VmModify
from pvc_core.ops.vm_remove import VmRemove, VmUndefine
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.vms.documents import VmDocument, vm_document
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.serializers import (
    VmDefineParameters,
    VmListParameters,
    VmModifyParameters,
    VmRemoveParameters,
)
from pvc_web.vms.snapshot_documents import differences_to, snapshot_documents


def select(snapshot: ClusterSnapshot, parameters: Mapping[str, Any]) -> list[VmEntry]:
    """The machines that a list asks for, by name. Raises NotFound for a node that is not there."""
    node, limit = parameters["node"], parameters["limit"]
    if node is not None and node not in snapshot.nodes:
        raise NotFound(f"there is no node {node!r}")
    found = [entry for entry in snapshot.vms.values() if _fits(entry, parameters)]
    if parameters["mirror"]:
        found = [entry for entry in found if entry.vm.uuid in snapshot.mirrors]
    if limit is not None:
        found = [entry for entry in found if _is_called(entry, limit)]
    return sorted(found, key=lambda entry: entry.vm.name)


def _fits(entry: VmEntry, parameters: Mapping[str, Any]) -> bool:
    """Each of node, state and tag must fit; with ``negate`` none of those that were given may."""
    node, state, tag = parameters["node"], parameters["state"], parameters["tag"]
    given = []
    if node is not None:
        given.append(entry.vm.node == node)
    if state is not None:
        given.append(entry.shown_state is state)
    if tag is not None:
        given.append(any(own.name == tag for own in entry.vm.tags))
    return not any(given) if parameters["negate"] else all(given)


def _is_called(entry: VmEntry, limit: re.Pattern[str]) -> bool:
    return limit.pattern == entry.vm.uuid or matches(limit, (entry.vm.name, *(tag.name for tag in entry.vm.tags)))


class VmList(ApiView):
    @reads(list[VmDocument], "All machines", takes=VmListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        return page_answer(select(snapshot, parameters), parameters, lambda entry: vm_document(snapshot, entry))

    @writes(VmDefine, summary="Define a machine", takes=VmDefineParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, VmDefine(**parameters))


class VmDetail(ApiView):
    @reads(VmDocument, "One machine, by its name or uuid")
    def get(self, request: Request, vm: str) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        uuid = entry.vm.uuid
        snapshots = snapshot_documents(snapshot, uuid, differences_to(snapshot.xmls.get(uuid, "")))
        return json_answer(vm_document(snapshot, entry, snapshots))

    @writes(VmDefine, summary="Define a machine; its name is that in the XML", takes=VmDefineParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, VmDefine(**parameters))

    @writes(VmModify, summary="Replace the XML of a machine", takes=VmModifyParameters)
    def put(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        return respond(request, VmModify(entry.vm.uuid, parameters["xml"], parameters["restart"]))

    @writes(VmUndefine, VmRemove, summary="Remove a machine, with its disks if asked to", takes=VmRemoveParameters)
    def delete(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_vm(vm))
        operation = VmRemove if parameters["delete_disks"] else VmUndefine
        return respond(request, operation(entry.vm.uuid))
