"""The documented calls by which another cluster sends a snapshot. What they share with ours is in ``transfers``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest, Busy, Conflict
from pvc_core.model.mirror import Transfer
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Role
from pvc_core.model.vm_snapshot import SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.ops import receiving
from pvc_core.ops import vm_receive_documented as documented
from pvc_core.ports import Offer
from pvc_core.transfer import plain
from pvc_core.transfer.frames import Frame
from pvc_web.accounts.models import Token
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, writes
from pvc_web.api.lookup import find
from pvc_web.api.schema import Message
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.vms import stream
from pvc_web.vms.serializers import (
    ReceiveBlockParameters,
    ReceiveConfigParameters,
    ReceiveDifferenceParameters,
    ReceiveWholeParameters,
)
from pvc_web.vms.transfers import StreamParser

Content = Callable[[plain.Read], tuple[int, Iterator[Frame]]]  # size and blocks of a disk, from a body


class ReceiveBlock(ApiView):
    parser_classes = (StreamParser,)
    longest_body = sys.maxsize  # it is written as it comes

    @acts(Message, Role.ADMINISTRATOR, summary="Send a whole volume, as its raw bytes", takes=ReceiveWholeParameters)
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        size = parameters["size"]
        offer = documented.block_offer(_key(vm), parameters["snapshot"], SnapshotDisk(_volume(parameters), size))
        return _receive(request, offer, lambda read: (size, plain.read_raw(read, size)))

    @acts(
        Message,
        Role.ADMINISTRATOR,
        summary="Send what differs in a volume, as rbd export-diff writes it",
        takes=ReceiveDifferenceParameters,
    )
    def put(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        parent, taken, volume = parameters["source_snapshot"], parameters["snapshot"], _volume(parameters)
        key = _key(vm)
        size = documented.size_at(cluster.view().snapshot(), key, parent, volume)
        offer = documented.block_offer(key, taken, SnapshotDisk(volume, size), parent)
        return _receive(request, offer, lambda read: plain.read_diff(read, parent, taken))

    @acts(Message, Role.ADMINISTRATOR, summary="Complete a volume that was sent", takes=ReceiveBlockParameters)
    def patch(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        taken, volume = parameters["snapshot"], _volume(parameters)
        transfer = _find(_key(vm), taken, volume)
        with stream.locked(volume, transfer) as lock:
            lock()
            documented.seal_block(cluster.blocks(), transfer, volume)
        return json_answer(Message(message=f"Snapshot {taken} of volume {volume} has come"))


class ReceiveConfig(ApiView):
    @writes(
        documented.VmReceiveConfig,
        summary="Complete a snapshot with the configuration of its machine",
        takes=ReceiveConfigParameters,
    )
    def post(self, request: Request, vm: str, parameters: dict[str, Any]) -> HttpResponse:
        try:
            taken = msgspec.convert(parameters["taken"], VmSnapshot)
            config = msgspec.convert(parameters["config"], VmConfig)
        except msgspec.ValidationError as error:
            raise BadRequest(f"taken, config: {error}") from None
        if (parameters["volume"], parameters["size"]) not in {(_name(disk), disk.size) for disk in taken.disks}:
            raise BadRequest(
                f"volume, size: {parameters['volume']} with {parameters['size']} bytes is no disk of {taken.name}"
            )
        offer = Offer(taken.vm, taken, config, taken.disks, parameters["source_snapshot"], parameters["pool"])
        return respond(request, documented.VmReceiveConfig(_key(vm), parameters["snapshot"], offer))


def _receive(request: Request, offer: Offer, content: Content) -> HttpResponse:
    """Begin a volume, and write it as it comes."""
    (disk,) = offer.disks
    sender = f"with API key {request.auth}" if isinstance(request.auth, Token) else f"of user {request.user}"
    answer = respond(request, documented.VmReceiveBlock(offer.vm, offer, sender))
    if answer.status_code == 202:
        raise Busy(f"volume {disk.volume} is still being made ready: send it again in a while")
    if answer.status_code != 200:
        return answer
    transfer = _find(offer.vm, offer.snapshot.name, disk.volume)
    body = stream.Body(request)
    with stream.locked(disk.volume, transfer) as lock:
        guard = stream.Guard(request, transfer, lock)

        def read(size: int) -> bytes:
            guard.check()
            return body.read(size)

        documented.write_block(cluster.blocks(), transfer, disk.volume, lambda: content(read))
    return json_answer(Message(message=f"Volume {disk.volume} of snapshot {offer.snapshot.name} has come"))


def _key(vm: str) -> str:
    """The uuid of a machine that is here; else what the path says. Settles, since what came before may just have been
    received by another process."""
    cluster.view().settle()
    entry = cluster.view().snapshot().find_vm(vm)
    return entry.vm.uuid if entry is not None else vm


def _find(key: str, snapshot: str, volume: str) -> Transfer:
    def look(now: ClusterSnapshot) -> Transfer:
        transfer = receiving.find_transfer(now, key, snapshot)
        if volume not in transfer.volumes:
            raise Conflict(f"volume {volume} of snapshot {snapshot} has not come: send it first")
        return transfer

    return find(look)[1]


def _volume(parameters: dict[str, Any]) -> str:
    return f"{parameters['pool']}/{parameters['volume']}"


def _name(disk: SnapshotDisk) -> str:
    return disk.volume.partition("/")[2]
