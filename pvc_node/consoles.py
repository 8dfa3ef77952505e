"""The serial consoles of this node's machines, followed in the files that QEMU writes."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from array import array
from collections.abc import Container
from pathlib import Path
from typing import IO

from pvc_core.ports import Clock
from pvc_node.trouble import Trouble

log = logging.getLogger(__name__)

Line = tuple[float, str]  # seconds since the epoch at which it was received, text

MAX_BYTES = 128 * 1024  # of one console in memory, and read at a time; what is older than that is passed over
MAX_FILE = 1024 * 1024  # bytes at which a console's file is copied to its one older file and emptied
SLACK = 1.25  # a buffer grows to so many times its limit before it is cut, so that cutting is rare
_FILE = re.compile(r"([0-9a-f-]{36})\.log(?:\.\d+)?")  # with a number: older ones, ours or those of virtlogd


class Consoles:
    """Safe to use from several threads."""

    def __init__(self, directory: Path, lines: int, clock: Clock) -> None:
        self._directory = directory
        self._lines = lines
        self._clock = clock
        self._lock = threading.Lock()
        self._followers: dict[str, Follower] = {}
        self._trouble = Trouble("console logs")

    def scan(self) -> None:
        """Take in what all consoles have written since the last scan."""
        with self._lock:
            try:
                for path, uuid in self._files():
                    if path.suffix == ".log" and uuid not in self._followers:
                        self._followers[uuid] = Follower(path, self._lines)
                for follower in self._followers.values():
                    follower.follow(self._clock.now())
                self._trouble.end()
            except OSError as error:
                self._trouble.begin(error)

    def tail(self, uuid: str, count: int) -> list[Line] | None:
        """The newest ``count`` lines, oldest first, up to this moment; None when this node has no such console."""
        with self._lock:
            follower = self._followers.get(uuid)
            if follower is None:
                return None
            try:
                follower.follow(self._clock.now())
            except OSError as error:
                self._trouble.begin(error)
            return follower.tail(count)

    def prune(self, known: Container[str]) -> None:
        """Forget the consoles, and remove the files, of machines that the cluster does not know."""
        with self._lock:
            try:
                for path, uuid in self._files():
                    if uuid not in known:
                        path.unlink(missing_ok=True)
                        if (follower := self._followers.pop(uuid, None)) is not None:
                            follower.close()
            except OSError as error:
                self._trouble.begin(error)

    def _files(self) -> list[tuple[Path, str]]:
        """The console logs in the directory, older ones included, each with its machine's uuid."""
        matches = ((path, _FILE.fullmatch(path.name)) for path in self._directory.iterdir())
        return [(path, match[1]) for path, match in matches if match is not None]


class Follower:
    """One console: its file, and its last lines in memory with their times."""

    def __init__(self, path: Path, lines: int) -> None:
        self._path = path
        self._limit = lines
        self._file: IO[bytes] | None = None
        self._offset = 0
        self._text = bytearray()  # complete lines
        self._times = array("d")  # one for each of them
        self._partial = bytearray()
        self._partial_since = 0.0

    def follow(self, now: float) -> None:
        """Read what was added, through rotation by rename as by truncation."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        first = self._file is None
        if self._file is not None and os.fstat(self._file.fileno()).st_ino != status.st_ino:
            self._read(now)  # what was written to the old file before it was renamed
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = self._path.open("rb", buffering=0)
            self._offset = 0
        # What a daemon finds when it starts was written at the latest when the file was last changed.
        self._read(status.st_mtime if first else now)
        if status.st_blocks * 512 > MAX_FILE:
            self._rotate(now)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def tail(self, count: int) -> list[Line]:
        """The newest ``count`` lines, oldest first, the one that has not ended yet included."""
        lines = bytes(self._text).split(b"\n")[:-1]
        times = list(self._times)
        if self._partial:
            lines.append(bytes(self._partial))
            times.append(self._partial_since)
        start = max(0, len(lines) - min(count, self._limit))
        return [(time, _text(line)) for time, line in zip(times[start:], lines[start:], strict=True)]

    def _read(self, now: float) -> None:
        if self._file is None:
            return
        size = os.fstat(self._file.fileno()).st_size
        if size < self._offset:  # it was truncated
            self._offset = 0
        if size - self._offset > MAX_BYTES:
            self._offset = size - MAX_BYTES
        self._file.seek(self._offset)
        data = self._file.read(MAX_BYTES)
        self._offset += len(data)
        if data:
            self._take(data, now)

    def _take(self, data: bytes, now: float) -> None:
        *lines, rest = data.split(b"\n")
        if lines:
            first_time = self._partial_since if self._partial else now
            self._text += self._partial + b"\n".join(lines) + b"\n"
            self._times.append(first_time)
            self._times.extend([now] * (len(lines) - 1))
            self._partial.clear()
        if rest and not self._partial:
            self._partial_since = now
        self._partial += rest
        del self._partial[:-MAX_BYTES]
        if len(self._times) > SLACK * self._limit or len(self._text) > SLACK * MAX_BYTES:
            self._trim()

    def _trim(self) -> None:
        lines = bytes(self._text).split(b"\n")[:-1][-self._limit :]
        size, kept = 0, 0
        for line in reversed(lines):
            size += len(line) + 1
            if size > MAX_BYTES:
                break
            kept += 1
        lines = lines[len(lines) - kept :]
        self._text = bytearray(b"".join(line + b"\n" for line in lines))
        self._times = self._times[len(self._times) - kept :]

    def _rotate(self, now: float) -> None:
        """Keep the file bounded. QEMU appends, so it goes on at the beginning of the emptied file."""
        shutil.copyfile(self._path, self._path.with_suffix(".log.1"))
        self._read(now)
        os.truncate(self._path, 0)
        self._offset = 0


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").replace("\0", "")
