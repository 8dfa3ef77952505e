"""Views of faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import NotFound
from pvc_core.model.fault import Fault
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.fault import FaultAcknowledge, FaultDelete
from pvc_core.rules.faults import up_to_date
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.faults.documents import FaultDocument, fault_document
from pvc_web.faults.serializers import FaultListParameters


def find_fault(fault: str) -> Callable[[ClusterSnapshot], Fault]:
    """A look for ``find``."""

    def look(snapshot: ClusterSnapshot) -> Fault:
        found = snapshot.faults.get(fault)
        if found is None:
            raise NotFound(f"there is no fault {fault!r}")
        return found

    return look


class FaultList(ApiView):
    @reads(list[FaultDocument], "All faults", takes=FaultListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        faults = [
            fault
            for fault in up_to_date(cluster.view().snapshot())
            if matches(parameters["limit"], (fault.id, fault.message))
        ]
        faults.sort(key=lambda fault: (getattr(fault, parameters["sort_key"]), fault.id))
        return page_answer(faults, parameters, fault_document)

    @writes(FaultAcknowledge, summary="Acknowledge all faults")
    def put(self, request: Request) -> HttpResponse:
        return respond(request, FaultAcknowledge())

    @writes(FaultDelete, summary="Delete all faults")
    def delete(self, request: Request) -> HttpResponse:
        return respond(request, FaultDelete())


class FaultDetail(ApiView):
    @reads(list[FaultDocument], "One fault, as a list of one")
    def get(self, request: Request, fault: str) -> HttpResponse:
        snapshot, _ = find(find_fault(fault))
        return json_answer([fault_document(found) for found in up_to_date(snapshot) if found.id == fault])

    @writes(FaultAcknowledge, summary="Acknowledge a fault")
    def put(self, request: Request, fault: str) -> HttpResponse:
        return respond(request, FaultAcknowledge(fault))

    @writes(FaultDelete, summary="Delete a fault")
    def delete(self, request: Request, fault: str) -> HttpResponse:
        return respond(request, FaultDelete(fault))
