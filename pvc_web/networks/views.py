"""Views of networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest, NotFound
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.network import NetworkCreate, NetworkModify, NetworkRemove
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.networks.documents import NetworkDocument, network_document
from pvc_web.networks.serializers import (
    NetworkAddParameters,
    NetworkCreateParameters,
    NetworkListParameters,
    NetworkModifyParameters,
)


def find_network(vni: str) -> Callable[[ClusterSnapshot], Network]:
    """A look for ``find``; what is no number is no network either."""

    def look(snapshot: ClusterSnapshot) -> Network:
        network = snapshot.networks.get(int(vni)) if _is_number(vni) else None
        if network is None:
            raise NotFound(f"there is no network {vni}")
        return network

    return look


def _is_number(vni: str) -> bool:
    return vni.isascii() and vni.isdecimal() and len(vni) < 10


def _create(request: Request, **fields: Any) -> HttpResponse:
    if fields["type"] is not NetworkType.BRIDGED:
        raise BadRequest("nettype: managed networks are not available yet; use bridged")
    return respond(request, NetworkCreate(**fields))


class NetworkList(ApiView):
    @reads(list[NetworkDocument], "All networks", takes=NetworkListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        networks = [
            network
            for _, network in sorted(cluster.view().snapshot().networks.items())
            if matches(parameters["limit"], (str(network.vni), network.description))
        ]
        return page_answer(networks, parameters, network_document)

    @writes(NetworkCreate, summary="Create a network", takes=NetworkCreateParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return _create(request, **parameters)


class NetworkDetail(ApiView):
    @reads(NetworkDocument, "One network")
    def get(self, request: Request, vni: str) -> HttpResponse:
        _, network = find(find_network(vni))
        return json_answer(network_document(network))

    @writes(NetworkCreate, summary="Create a network with this VNI", takes=NetworkAddParameters)
    def post(self, request: Request, vni: str, parameters: dict[str, Any]) -> HttpResponse:
        if not _is_number(vni):
            raise BadRequest(f"vni: {vni!r} is not a number")
        return _create(request, vni=int(vni), **parameters)

    @writes(NetworkModify, summary="Change the description or the MTU", takes=NetworkModifyParameters)
    def put(self, request: Request, vni: str, parameters: dict[str, Any]) -> HttpResponse:
        _, network = find(find_network(vni))
        return respond(request, NetworkModify(network.vni, **parameters))

    @writes(NetworkRemove, summary="Remove a network that no machine uses")
    def delete(self, request: Request, vni: str) -> HttpResponse:
        _, network = find(find_network(vni))
        return respond(request, NetworkRemove(network.vni))
