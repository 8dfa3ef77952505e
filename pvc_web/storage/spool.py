"""Images on their way from a client into a volume: files of this node's spool directory, never held in memory."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import UnreadablePostError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from pvc_core.errors import Conflict
from pvc_web.tasks.models import Task

_CHUNK = 1 << 20
_RESERVE = 256 << 20  # bytes that stay free
_ABANDONED = 3600.0  # seconds without a write after which a file that no task needs is left over


class _Counted:
    """A stream that knows how much was read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


class FormUpload(MultiPartParser):
    """A form with the image as its file ``file``. Django writes it to the spool directory as it comes."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        counted = _Counted(stream)
        try:
            parsed = super().parse(cast(IO[bytes], counted), media_type, parser_context)
        except OSError as error:
            raise _broken(error) from None
        _require_whole(counted.count, parser_context)
        return parsed


class RawUpload(BaseParser):
    """The image alone, as the body."""

    media_type = "application/octet-stream"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, TemporaryUploadedFile]:
        counted = _Counted(stream)
        file = TemporaryUploadedFile("image", self.media_type, 0, None)
        try:
            for chunk in iter(lambda: counted.read(_CHUNK), b""):
                file.write(chunk)
            file.flush()
        except OSError as error:
            raise _broken(error) from None
        _require_whole(counted.count, parser_context)
        file.size = counted.count
        return {"file": file}


def prepare(directory: Path, length: int | None) -> None:
    """Make room for an upload of ``length`` bytes, or for one that is not kept. Raises Conflict when there is not
    enough."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(directory)
    if length is None:
        return
    free = shutil.disk_usage(directory).free
    if length + _RESERVE > free:
        raise Conflict(
            f"this node has {free >> 20} MiB free for uploads, and this one needs {length + _RESERVE >> 20} MiB; "
            "upload to another coordinator, or make room"
        )


def keep(file: TemporaryUploadedFile, directory: Path) -> Path:
    """Give an upload a name under which it outlives its request; whoever imports it removes it."""
    path = directory / f"{uuid.uuid4()}.image"
    Path(file.temporary_file_path()).rename(path)
    file.close()  # which would otherwise remove it, and finds nothing
    return path


def _sweep(directory: Path) -> None:
    """Remove what requests that broke off and tasks that never began have left."""
    unfinished = Task.objects.unfinished().filter(operation="volume.import")
    needed = {arguments.get("path") for arguments in unfinished.values_list("arguments", flat=True)}
    for path in directory.iterdir():
        if (
            (path.is_file() or path.is_socket())
            and str(path) not in needed
            and time.time() - path.stat().st_mtime > _ABANDONED
        ):
            path.unlink(missing_ok=True)


def _require_whole(count: int, parser_context: Mapping[str, Any] | None) -> None:
    length = int((parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0)
    if count != length:
        raise ParseError(f"the upload broke off after {count} of {length} bytes")


def _broken(error: OSError) -> Exception:
    if isinstance(error, UnreadablePostError):
        return ParseError("the upload broke off")
    return Conflict(f"the upload cannot be written on this node: {error.strerror or error}")
