"""Views of other clusters."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest
from pvc_core.model.task import Role
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts, reads
from pvc_web.api.schema import Message
from pvc_web.database.names import find
from pvc_web.peers import service
from pvc_web.peers.documents import PeerDocument
from pvc_web.peers.models import Peer
from pvc_web.peers.serializers import PeerAddParameters, PeerModifyParameters


class PeerList(ApiView):
    @reads(list[PeerDocument], "The other clusters that this one knows")
    def get(self, request: Request) -> HttpResponse:
        return json_answer([PeerDocument.of(peer) for peer in Peer.objects.all()])

    @acts(PeerDocument, Role.ADMINISTRATOR, summary="Make another cluster known", takes=PeerAddParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return json_answer(PeerDocument.of(service.add(request, parameters)))


class PeerDetail(ApiView):
    @reads(PeerDocument, "One other cluster")
    def get(self, request: Request, peer: str) -> HttpResponse:
        return json_answer(PeerDocument.of(find(Peer, peer)))

    @acts(PeerDocument, Role.ADMINISTRATOR, summary="Change what is known of it", takes=PeerModifyParameters)
    def put(self, request: Request, peer: str, parameters: dict[str, Any]) -> HttpResponse:
        given = {name: value for name, value in parameters.items() if value is not None}
        if not given:
            raise BadRequest("nothing is to be changed: give api_uri, token, verify_ssl, pool or bandwidth")
        return json_answer(PeerDocument.of(service.modify(request, peer, given)))

    @acts(Message, Role.ADMINISTRATOR, summary="Forget it; the cluster itself is not touched")
    def delete(self, request: Request, peer: str) -> HttpResponse:
        service.remove(request, peer)
        return json_answer(Message(message=f"peer {peer} is removed"))
