"""Upload of a disk image into a volume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import BadRequest
from pvc_core.ops.volume_import import VolumeImport
from pvc_web.api import work
from pvc_web.api.endpoints import ApiView, writes
from pvc_web.api.lookup import find
from pvc_web.config import cluster
from pvc_web.storage import spool
from pvc_web.storage.lookup import find_volume
from pvc_web.storage.serializers import VolumeUploadParameters


class VolumeUpload(ApiView):
    parser_classes = (spool.FormUpload, spool.RawUpload)
    longest_body = sys.maxsize  # it goes to disk

    def initial(self, request: Request, *args: Any, pool: str, volume: str, **kwargs: Any) -> None:
        """Refuse what can be refused before the body is taken."""
        super().initial(request)
        find(find_volume(pool, volume))
        if "image_format" in request.query_params:
            VolumeUploadParameters.check(request.query_params)
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        spool.prepare(Path(cluster.config().daemon.spool_directory), length)

    @writes(VolumeImport, summary="Write an image file into a volume", takes=VolumeUploadParameters)
    def post(self, request: Request, pool: str, volume: str, parameters: dict[str, Any]) -> HttpResponse:
        file = request.data.get("file")
        if not isinstance(file, TemporaryUploadedFile):
            raise BadRequest("the image is missing: send it as the file of a form, named file, or as the body itself")
        if parameters["file_size"] not in (None, file.size):
            raise BadRequest(f"file_size: {parameters['file_size']} bytes were announced, and {file.size} came")
        config = cluster.config()
        path = spool.keep(file, Path(config.daemon.spool_directory))
        try:
            task = work.send(
                request, VolumeImport(pool, volume, str(path), parameters["image_format"], config.node.name)
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return work.answer(request, task, wait=True, status=200)
