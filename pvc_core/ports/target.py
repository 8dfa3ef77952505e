"""Where backups are kept: a directory, an S3-compatible store or an SFTP server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import IO, Protocol


class BackupTarget(Protocol):
    """Named objects, names being relative paths with slashes. An object is there wholly or not at all.

    Used by several threads, each with objects of its own."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names of all objects that begin with ``prefix``, sorted. Unfinished ones are not among them."""
        ...

    def read(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """The object as a stream. NotFound."""
        ...

    def write(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A stream into an object that appears, complete and stored, when the context ends without an error, and not at
        all when it ends with one. Replaces what has the name."""
        ...

    def remove(self, name: str) -> None:
        """No error when there is none."""
        ...


class Targets(Protocol):
    """Finds the target that a person names."""

    def open(self, where: str) -> AbstractContextManager[BackupTarget]:
        """A target to work with until the context ends. ``/path`` and ``file:///path`` are a directory of this node,
        which need not be there yet. Raises BadRequest for what cannot be one, NotFound for one that is not known."""
        ...
