"""The daemon's own log: to a file, to stderr, and the last lines in memory for the API."""

from __future__ import annotations

import logging
import sys
from collections import deque
from itertools import islice
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pvc_core.errors import BadRequest

FILE = "pvc-node.log"
FILE_SIZE = 10 * 1024 * 1024
FILES_KEPT = 3
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Line = tuple[float, str]  # seconds since the epoch, text


class Ring(logging.Handler):
    """The last lines with their times. A record of several lines, such as a traceback, becomes as many."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=lines)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.extend((record.created, text) for text in self.format(record).splitlines())

    def tail(self, count: int) -> list[Line]:
        """The newest ``count`` lines, oldest first."""
        self.acquire()
        try:
            return list(islice(self._lines, max(0, len(self._lines) - count), None))
        finally:
            self.release()


def set_up(directory: Path, lines: int) -> Ring:
    """Send all logging to the file in ``directory``, to stderr and to the ring that is answered."""
    ring = Ring(lines)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(directory / FILE, maxBytes=FILE_SIZE, backupCount=FILES_KEPT)
    except OSError as error:
        raise BadRequest(f"the log directory {directory} cannot be used: {error.strerror}") from None
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[file, logging.StreamHandler(sys.stderr), ring])
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    return ring
