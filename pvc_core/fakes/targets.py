"""Stores of backups in memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pvc_core.errors import BadRequest, DriverError, NotFound
from pvc_core.ports import BackupTarget


class FakeTarget:
    """See ``pvc_core.ports.BackupTarget``. A test looks at ``objects``, damages them, and sets ``capacity``, in
    bytes."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.capacity = 1 << 40
        self._lock = threading.Lock()

    def names(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(name for name in list(self.objects) if name.startswith(prefix))

    @contextmanager
    def read(self, name: str) -> Iterator[IO[bytes]]:
        _check(name)
        if name not in self.objects:
            raise NotFound(f"there is no file {name}")
        yield io.BytesIO(self.objects[name])

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        _check(name)
        file = io.BytesIO()
        yield file
        with self._lock:
            others = sum(len(content) for other, content in self.objects.items() if other != name)
            if others + len(file.getvalue()) > self.capacity:
                raise DriverError("the store is full; free some space there, and try again")
            self.objects[name] = file.getvalue()

    def remove(self, name: str) -> None:
        _check(name)
        self.objects.pop(name, None)


class FakeTargets:
    """See ``pvc_core.ports.Targets``. Each name is one store, which is there as long as this is."""

    def __init__(self) -> None:
        self.stores: dict[str, FakeTarget] = {}

    @contextmanager
    def open(self, where: str) -> Iterator[BackupTarget]:
        if not where.startswith(("/", "file:///")):
            raise BadRequest(f"{where!r} is neither an absolute path nor the URI of a store")
        yield self.stores.setdefault(where, FakeTarget())


def _check(name: str) -> None:
    if not name or name.startswith("/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise BadRequest(f"{name!r} cannot be the name of an object")
