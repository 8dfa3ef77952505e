"""Upload of a disk image into a volume."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest
from pvc_core.ops.volume_import import VolumeImport, VolumeUpload
from pvc_web.api import work
from pvc_web.api.endpoints import ApiView, writes
from pvc_web.api.lookup import find
from pvc_web.config import cluster
from pvc_web.storage import spool
from pvc_web.storage.lookup import find_volume
from pvc_web.storage.outlet import MISSING, Outlet, WorkerEnded, is_form, send
from pvc_web.storage.serializers import VolumeUploadParameters


class VolumeUploadView(ApiView):
    parser_classes = (spool.FormUpload, spool.RawUpload)
    longest_body = sys.maxsize  # it goes to disk

    def initial(self, request: Request, *args: Any, pool: str, volume: str, **kwargs: Any) -> None:
        """Refuse what can be refused before the body is taken."""
        super().initial(request)
        find(find_volume(pool, volume))
        if "image_format" in request.query_params:
            VolumeUploadParameters.check(request.query_params)
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        spool.prepare(_spool_directory(), None if _raw_size(request) else length)

    @writes(VolumeImport, VolumeUpload, summary="Write an image file into a volume", takes=VolumeUploadParameters)
    def post(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        """A raw image whose size is known goes straight into the volume, any other one by way of the disk."""
        if size := _raw_size(request):
            return self._stream(request, pool, volume, size)
        return self._spool(request, pool, volume, parameters)

    def _stream(self, request: Request, pool: str, volume: str, size: int) -> HttpResponse:
        with Outlet(_spool_directory()) as outlet:
            task = work.send(request, VolumeUpload(pool, volume, str(outlet.path), size, _this_node()))
            if outlet.wait(task):
                with suppress(WorkerEnded):  # the task's end is the answer
                    send(request, outlet)
        return work.answer(request, task, wait=True, status=200)

    def _spool(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        file = request.data.get("file")
        if not isinstance(file, TemporaryUploadedFile):
            raise BadRequest(MISSING)
        if parameters["file_size"] not in (None, file.size):
            raise BadRequest(f"file_size: {parameters['file_size']} bytes were announced, and {file.size} came")
        path = spool.keep(file, _spool_directory())
        try:
            task = work.send(request, VolumeImport(pool, volume, str(path), parameters["image_format"], _this_node()))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return work.answer(request, task, wait=True, status=200)


def _raw_size(request: Request) -> int:
    """Bytes of an image that can be written as it comes; 0 of one that cannot."""
    announced = VolumeUploadParameters.check({"image_format": "qcow2"}, request.query_params)
    if announced["image_format"] != "raw":
        return 0
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    size = announced["file_size"] or 0 if is_form(request) else length
    if announced["file_size"] not in (None, size):
        raise BadRequest(f"file_size: {announced['file_size']} bytes were announced, and the body has {size}")
    return size


def _spool_directory() -> Path:
    return Path(cluster.config().daemon.spool_directory)


def _this_node() -> str:
    return cluster.config().node.name
