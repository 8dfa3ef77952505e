"""An upload on its way from the client's connection to the worker of this node that writes it into the volume.

Nothing of it is kept on disk. The worker connects to a socket in the spool directory; while it writes no faster, this
side reads no more from the client.
"""

from __future__ import annotations

import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import UnreadablePostError
from rest_framework.exceptions import ParseError
from rest_framework.request import Request

from pvc_core.errors import BadRequest, Unavailable
from pvc_web.tasks import service
from pvc_web.tasks.models import Task

START_LIMIT = 60.0  # seconds in which a worker must take up the upload
SILENCE = 60.0  # seconds without a byte after which the client is taken for gone
RECHECK = 1.0  # seconds between two looks at the task meanwhile
CHUNK = 1 << 20
MISSING = "the image is missing: send it as the file of a form, named file, or as the body itself"


class WorkerEnded(Exception):
    """The worker takes no more; its task says why."""


class Outlet:
    """A context: leaving it ends the stream."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{uuid.uuid4().hex}.upload"
        self.sent = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._worker: socket.socket | None = None
        self._listener.bind(str(self.path))
        self.path.chmod(0o600)
        self._listener.listen(1)

    def __enter__(self) -> Outlet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        self._listener.close()
        if self._worker is not None:
            self._worker.close()

    def wait(self, task: Task) -> bool:
        """Wait for the worker; False when the task is over without one. Raises Unavailable when none comes in time."""
        deadline = time.monotonic() + START_LIMIT
        self._listener.settimeout(RECHECK)
        while time.monotonic() < deadline:
            try:
                self._worker, _ = self._listener.accept()
                return True
            except TimeoutError:
                if service.get(task.id).over:
                    return False
        service.cancel(task.id, None)
        raise Unavailable(
            f"no worker of this node took up the upload within {START_LIMIT:g} s, since all are busy: try again later"
        )

    def write(self, chunk: bytes) -> None:
        """Raises WorkerEnded."""
        assert self._worker is not None
        try:
            self._worker.sendall(chunk)
        except OSError:
            raise WorkerEnded from None
        self.sent += len(chunk)


class FormOutlet(FileUploadHandler):
    """Takes the file ``file`` of a form as Django parses it."""

    chunk_size = CHUNK

    def __init__(self, request: Request, outlet: Outlet) -> None:
        super().__init__(request._request)
        self._outlet = outlet

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.field_name != "file":
            raise SkipFile

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002
        self._outlet.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        return UploadedFile(name=self.file_name, size=file_size)


def is_form(request: Request) -> bool:
    return str(request.content_type).startswith("multipart/")


def send(request: Request, outlet: Outlet) -> None:
    """Pass on the file of a form, or a body that is the image itself. Raises ParseError when the client broke off,
    WorkerEnded when the worker did."""
    if "gunicorn.socket" in request.META:
        request.META["gunicorn.socket"].settimeout(SILENCE)
    if is_form(request):
        request._request.upload_handlers = [FormOutlet(request, outlet)]
        if "file" not in request.data:  # reading it sends the file
            raise BadRequest(MISSING)
        return
    length = int(request.META["CONTENT_LENGTH"])
    with suppress(UnreadablePostError):
        while chunk := request._request.read(min(CHUNK, length - outlet.sent)):
            outlet.write(chunk)
    if outlet.sent < length:
        raise ParseError(f"the upload broke off after {outlet.sent} of {length} bytes")
