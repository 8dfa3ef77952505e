"""Views of snapshots that go to another cluster, or come from one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Any

import msgspec
from django.http import HttpResponse
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from pvc_core.errors import BadRequest, NotFound
from pvc_core.model.task import Role
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ops import receiving
from pvc_core.ops.vm_receive import VmReceiveAbandon, VmReceiveBegin, VmReceiveCommit
from pvc_core.ops.vm_send import VmSnapshotSend
from pvc_core.ports import Incoming, Offer
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, reads, writes
from pvc_web.api.lookup import find
from pvc_web.api.schema import Document
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.peers import service as peers
from pvc_web.vms import stream
from pvc_web.vms.lookup import find_vm
from pvc_web.vms.serializers import SnapshotSendParameters, TransferBeginParameters, TransferPartParameters


class StoredDocument(Document):
    """What has come of a volume: all up to this byte is stored; its size when all is there."""

    position: int


class StreamParser(BaseParser):
    """Leaves the body where it is, for the view to read as it comes."""

    media_type = "application/octet-stream"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return {}


class VmSnapshotSendView(ApiView):
    @writes(VmSnapshotSend, summary="Send a snapshot to another cluster", takes=SnapshotSendParameters, status=202)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        snapshot, entry = find(find_vm(vm))
        operation = VmSnapshotSend(
            entry.vm.uuid,
            parameters["snapshot_name"],
            parameters["peer"],
            parameters["incremental_parent"],
            parameters["destination_storage_pool"],
        )
        operation.check(snapshot)  # before a token is stored for it
        operation = replace(operation, peer=peers.destination(request, operation.peer, parameters))
        return respond(request, operation, status=202)


class TransferList(ApiView):
    @reads(list[VmSnapshot], "The complete snapshots of a machine, for another cluster to compare with its own")
    def get(self, request: Request, vm: str) -> HttpResponse:
        return json_answer(list(cluster.view().snapshot().vm_snapshots.get(vm, {}).values()))

    @writes(VmReceiveBegin, summary="Offer a snapshot to be received", takes=TransferBeginParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        try:
            offer = msgspec.convert(parameters["offer"], Offer)
        except msgspec.ValidationError as error:
            raise BadRequest(f"offer: {error}") from None
        return respond(request, VmReceiveBegin(vm, offer, parameters["source"]))


class TransferDetail(ApiView):
    @reads(Incoming, "How far a snapshot has come, for as long as there is room for the rest")
    def get(self, request: Request, vm: str, snapshot: str) -> HttpResponse:
        view = cluster.view()
        view.settle()  # whoever asks has just offered it to another process
        found = view.snapshot()
        ratio = cluster.config().ceph.full_ratio
        return json_answer(receiving.incoming(cluster.blocks(), found, vm, snapshot, ratio))

    @writes(VmReceiveCommit, summary="Complete a snapshot of which all volumes have come")
    def post(self, request: Request, vm: str, snapshot: str) -> HttpResponse:
        return respond(request, VmReceiveCommit(vm, snapshot))

    @writes(VmReceiveAbandon, summary="Give up a snapshot that has not come whole")
    def delete(self, request: Request, vm: str, snapshot: str) -> HttpResponse:
        entry = cluster.view().snapshot().find_vm(vm)  # None: it has never come whole, and is known by its UUID only
        return respond(request, VmReceiveAbandon(vm if entry is None else entry.vm.uuid, snapshot))


class TransferVolume(ApiView):
    parser_classes = (StreamParser,)
    longest_body = sys.maxsize  # it is written as it comes

    @acts(
        StoredDocument, Role.ADMINISTRATOR, summary="Send blocks of a volume, as a stream", takes=TransferPartParameters
    )
    def put(
        self, request: Request, vm: str, snapshot: str, pool: str, volume: str, parameters: dict[str, Any]
    ) -> HttpResponse:
        _, transfer = find(lambda now: receiving.find_transfer(now, vm, snapshot, parameters["transfer"]))
        name = f"{pool}/{volume}"
        if name not in transfer.volumes:
            raise NotFound(f"snapshot {snapshot} that is being received has no volume {name}")
        body = stream.Body(request)
        with stream.locked(transfer.volumes[name], transfer) as lock:
            guard = stream.Guard(request, transfer, lock)
            position = receiving.take(cluster.blocks(), transfer, name, parameters["position"], body.read, guard.check)
        body.read(1)  # what ends it, so that the connection can be closed in good order
        return json_answer(StoredDocument(position=position))
