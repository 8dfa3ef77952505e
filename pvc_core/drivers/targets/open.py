"""Which kind of store a person names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.errors import BadRequest
from pvc_core.model.backup import StoredTarget
from pvc_core.ports import BackupTarget


def _directory(uri: str, credentials: Mapping[str, str]) -> BackupTarget:  # noqa: ARG001 - it needs none
    parts = urlsplit(uri)
    if parts.netloc:
        raise BadRequest(f"{uri}: a directory is named as /path or file:///path, without a host")
    return DirectoryTarget(unquote(parts.path))


def _s3(uri: str, credentials: Mapping[str, str]) -> BackupTarget:
    from pvc_core.drivers.targets.s3 import S3Target  # these libraries take half a second and 40 MB

    return S3Target(uri, credentials)


def _sftp(uri: str, credentials: Mapping[str, str]) -> BackupTarget:
    from pvc_core.drivers.targets.sftp import SftpTarget

    return SftpTarget(uri, credentials)


SCHEMES: dict[str, Callable[[str, Mapping[str, str]], BackupTarget]] = {"file": _directory, "s3": _s3, "sftp": _sftp}


def open_uri(uri: str, credentials: Mapping[str, str]) -> BackupTarget:
    """Raises BadRequest for what is no URI of a known kind, or lacks credentials. Nothing is read yet."""
    if uri.startswith("/"):
        return DirectoryTarget(uri)
    scheme = urlsplit(uri).scheme
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise BadRequest(f"{uri!r} is neither an absolute path nor a URI that begins with {known}")
    return SCHEMES[scheme](uri, credentials)


class UriTargets:
    """See ``pvc_core.ports.Targets``. ``find`` knows the stored targets by name, and raises NotFound."""

    def __init__(self, find: Callable[[str], StoredTarget]) -> None:
        self._find = find

    @contextmanager
    def open(self, where: str) -> Iterator[BackupTarget]:
        if where.startswith("/") or "://" in where:
            yield open_uri(where, {})
        else:
            stored = self._find(where)
            yield open_uri(stored.uri, stored.credentials)
