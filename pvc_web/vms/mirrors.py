"""Views of mirrors between this cluster and others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest, NotFound
from pvc_core.model.mirror import Lineage, Mirror, Word
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.ops.vm_mirror import VmMirrorCreate, VmMirrorPromote, VmMirrorRemove, VmMirrorTakeBack
from pvc_core.ops.vm_mirror_second import VmMirrorForce, VmMirrorResync, VmMirrorTakeOver
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.peers import service as peers
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.mirror_documents import MirrorDocument, mirror_document
from pvc_web.vms.serializers import MirrorCreateParameters, MirrorPromoteParameters, MirrorTakeOverParameters


class MirrorsView(ApiView):
    @reads(Word, "What this cluster tells others of itself and of its mirrors")
    def get(self, request: Request) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        return json_answer(Word(snapshot.fsid, time.time(), dict(snapshot.mirrors)))


class VmMirrorView(ApiView):
    @reads(MirrorDocument, "The mirror of a machine")
    def get(self, request: Request, vm: str) -> HttpResponse:
        snapshot, (entry, _) = find(_find_mirror(vm))
        document = mirror_document(snapshot, entry.vm.uuid)
        assert document is not None
        return json_answer(document)

    @writes(VmMirrorRemove, summary="End the mirror at this side; what is here stays")
    def delete(self, request: Request, vm: str) -> HttpResponse:
        _, (entry, _) = find(_find_mirror(vm))
        return respond(request, VmMirrorRemove(entry.vm.uuid))


class VmMirrorCreateView(ApiView):
    @writes(VmMirrorCreate, summary="Make a mirror, or bring it up to date", takes=MirrorCreateParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        pool, goal = parameters["destination_storage_pool"], parameters["goal"]
        operation = VmMirrorCreate(entry.vm.uuid, _peer(snapshot, entry, parameters), pool, goal)
        operation.check(snapshot)  # before a token is stored for it
        return respond(
            request, replace(operation, peer=peers.destination(request, operation.peer, parameters)), status=202
        )


class VmMirrorPromoteView(ApiView):
    @writes(
        VmMirrorPromote,
        VmMirrorForce,
        summary="Hand a machine over to the other cluster, or take it over by force",
        takes=MirrorPromoteParameters,
        status=202,
    )
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        if parameters["force"]:
            return respond(request, VmMirrorForce(entry.vm.uuid), status=202)
        pool, remove = parameters["destination_storage_pool"], parameters["remove_on_source"]
        operation = VmMirrorPromote(entry.vm.uuid, _peer(snapshot, entry, parameters), pool, remove)
        operation.check(snapshot)
        return respond(
            request, replace(operation, peer=peers.destination(request, operation.peer, parameters)), status=202
        )


class VmMirrorResyncView(ApiView):
    @writes(VmMirrorResync, summary="Follow the other cluster, and keep apart what only this one has", status=202)
    def post(self, request: Request, vm: str) -> HttpResponse:
        _, (entry, _) = find(_find_mirror(vm))
        return respond(request, VmMirrorResync(entry.vm.uuid), status=202)


class VmMirrorTakeBackView(ApiView):
    @writes(VmMirrorTakeBack, summary="Take back a machine that was being handed over", status=202)
    def post(self, request: Request, vm: str) -> HttpResponse:
        _, (entry, _) = find(_find_mirror(vm))
        return respond(request, VmMirrorTakeBack(entry.vm.uuid), status=202)


class VmMirrorTakeOverView(ApiView):
    @writes(
        VmMirrorTakeOver,
        summary="Tell of a promotion, from the other cluster",
        takes=MirrorTakeOverParameters,
        status=202,
    )
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        _, (entry, _) = find(_find_mirror(vm))
        try:
            lineage = msgspec.json.decode(parameters["lineage"], type=Lineage)
        except msgspec.DecodeError as error:
            raise BadRequest(f"lineage: {error}") from None
        if not lineage.promotions:
            raise BadRequest("lineage: there must be at least one promotion")
        return respond(request, VmMirrorTakeOver(entry.vm.uuid, lineage, parameters["start"]), status=202)


def _find_mirror(vm: str) -> Any:
    """A look for ``find``: the machine with its mirror."""

    def look(snapshot: ClusterSnapshot) -> tuple[VmEntry, Mirror]:
        entry = find_vm(vm)(snapshot)
        mirror = snapshot.mirrors.get(entry.vm.uuid)
        if mirror is None:
            raise NotFound(f"VM {entry.vm.name} has no mirror")
        return entry, mirror

    return look


def _peer(snapshot: ClusterSnapshot, entry: VmEntry, parameters: dict[str, Any]) -> str:
    """The name of the destination as far as it is known: that of the present mirror where an address is given, since
    a machine has one mirror only. Raises BadRequest where there is nothing to go by."""
    mirror = snapshot.mirrors.get(entry.vm.uuid)
    known = mirror.peer if mirror is not None else ""
    if not (parameters["peer"] or parameters["destination_api_uri"] or known):
        raise BadRequest("peer: give the other cluster's name here, or destination_api_uri and destination_api_key")
    return parameters["peer"] or known
