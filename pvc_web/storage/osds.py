"""Views of OSDs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.osd import (
    OsdAdd,
    OsdCreateDbGroup,
    OsdRefresh,
    OsdRemove,
    OsdReplace,
    OsdSetFlag,
    OsdSetState,
)
from pvc_core.ops.osd_steps import osd_node
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.storage.osd_documents import (
    OsdDocument,
    OsdStateDocument,
    all_osds,
    osd_document,
    osd_state,
)
from pvc_web.storage.osd_parameters import (
    NodeDeviceParameters,
    OsdAddParameters,
    OsdListParameters,
    OsdOptionParameters,
    OsdRefreshParameters,
    OsdRemoveParameters,
    OsdReplaceParameters,
    OsdStateParameters,
)


def find_osd(osd: int) -> Callable[[ClusterSnapshot], str]:
    """A look for ``pvc_web.api.lookup.find``; what it finds is the OSD's node."""
    return lambda snapshot: osd_node(snapshot, osd)


class OsdList(ApiView):
    @reads(list[OsdDocument], "All OSDs", takes=OsdListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        osds = [osd for osd in all_osds(snapshot) if matches(parameters["limit"], (str(osd),))]
        return page_answer(osds, parameters, lambda osd: osd_document(osd, snapshot))

    @writes(OsdAdd, summary="Add OSDs on a disk of a node", takes=OsdAddParameters, status=202)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, OsdAdd(**parameters), status=202)


class OsdDetail(ApiView):
    @reads(OsdDocument, "One OSD")
    def get(self, request: Request, osd: int) -> HttpResponse:
        snapshot, _ = find(find_osd(osd))
        return json_answer(osd_document(osd, snapshot))

    @writes(OsdReplace, summary="Make an OSD anew on another disk", takes=OsdReplaceParameters, status=202)
    def post(self, request: Request, osd: int, parameters: dict[str, Any]) -> HttpResponse:
        find(find_osd(osd))
        return respond(request, OsdReplace(osd, **parameters), status=202)

    @writes(OsdRefresh, summary="Find an OSD on its disk again", takes=OsdRefreshParameters, status=202)
    def put(self, request: Request, osd: int, parameters: dict[str, Any]) -> HttpResponse:
        find(find_osd(osd))
        return respond(request, OsdRefresh(osd, **parameters), status=202)

    @writes(OsdRemove, summary="Remove an OSD", takes=OsdRemoveParameters, status=202)
    def delete(self, request: Request, osd: int, parameters: dict[str, Any]) -> HttpResponse:
        find(find_osd(osd))
        return respond(request, OsdRemove(osd, force=parameters["force"]), status=202)


class OsdState(ApiView):
    @reads(OsdStateDocument, "Whether an OSD runs and takes data")
    def get(self, request: Request, osd: int) -> HttpResponse:
        snapshot, _ = find(find_osd(osd))
        return json_answer(OsdStateDocument(state=osd_state(all_osds(snapshot)[osd])))

    @writes(OsdSetState, summary="Let an OSD take data, or not", takes=OsdStateParameters)
    def post(self, request: Request, osd: int, parameters: dict[str, Any]) -> HttpResponse:
        find(find_osd(osd))
        return respond(request, OsdSetState(osd, **parameters))


class OsdDatabaseGroup(ApiView):
    @writes(
        OsdCreateDbGroup,
        summary="Make a disk the volume group for OSD databases",
        takes=NodeDeviceParameters,
        status=202,
    )
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, OsdCreateDbGroup(**parameters), status=202)


class OsdOption(ApiView):
    @writes(OsdSetFlag, summary="Set or clear a flag of all OSDs", takes=OsdOptionParameters)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, OsdSetFlag(parameters["option"], parameters["action"] == "set"))
