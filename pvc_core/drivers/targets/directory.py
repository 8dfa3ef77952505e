"""Backups in a directory of this node, which may be a mounted share."""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pvc_core.drivers.targets.names import UNFINISHED, check_name
from pvc_core.errors import BadRequest, DriverError, NotFound

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DirectoryTarget:
    """An object is a file below ``root``. Directories come with their first file and go with their last."""

    def __init__(self, root: str) -> None:
        if not root.startswith("/"):
            raise BadRequest(f"{root!r} is not an absolute path")
        self._root = Path(os.path.normpath(root))

    def names(self, prefix: str = "") -> Iterator[str]:
        with self._translated(self._root):
            found = [
                (Path(directory) / file).relative_to(self._root).as_posix()
                for directory, _, files in os.walk(self._root, onerror=_unless_missing)
                for file in files
                if not file.startswith(UNFINISHED)
            ]
        yield from sorted(name for name in found if name.startswith(prefix))

    @contextmanager
    def read(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        with self._translated(path), path.open("rb") as file:
            yield file

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        unfinished = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
        with self._translated(path):
            _make(path.parent)
            _clear_unfinished(path.parent)
            try:
                with _create(unfinished) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
            except BaseException:
                with suppress(OSError):  # it is not among the names, and what went wrong first is what counts
                    unfinished.unlink(missing_ok=True)
                    self._remove_empty(path.parent)
                raise
            for directory in [*path.parents][: 1 + len(path.relative_to(self._root).parts)]:
                _sync(directory)

    def remove(self, name: str) -> None:
        path = self._path(name)
        with self._translated(path):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _sync(path.parent)
            self._remove_empty(path.parent)

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _remove_empty(self, directory: Path) -> None:
        with suppress(OSError):  # it is not empty
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent

    @contextmanager
    def _translated(self, path: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"there is no file {path}") from None
        except OSError as error:
            full = f"{self._root} is full; free some space there, and try again" if error.errno in FULL else ""
            raise DriverError(full or f"{path}: {error.strerror or error}") from None


def _make(directory: Path) -> None:
    """What guests have on their disks is for root alone."""
    for path in (*reversed(directory.parents), directory):
        path.mkdir(mode=0o700, exist_ok=True)


def _create(path: Path) -> IO[bytes]:
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    with suppress(OSError):  # not every share has locks; there, nothing is cleared away
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _clear_unfinished(directory: Path) -> None:
    """Remove what writers left behind that were killed: nobody has it locked."""
    for path in directory.glob(f"{UNFINISHED}*"):
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _sync(directory: Path) -> None:
    """A new or removed name is stored once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
