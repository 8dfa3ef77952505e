"""What a world and the code under test say, line by line, with the virtual time."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

_UUID = re.compile(r" \(0{8}-[-0-9a-f]+\)")


@contextmanager
def told(world: World, write: Callable[[str], object], level: int = logging.DEBUG) -> Iterator[None]:
    """Hand each line to ``write``: what the world notes, and what is logged at ``level`` and above."""

    def note(line: str) -> None:
        write(f"{world.loop.time:8.3f} {line}")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            process = world.loop.process
            who = process.host.name if process is not None else "world"
            note(f"{who}: {_UUID.sub('', record.getMessage())}")

    handler = Handler()
    loggers = [logging.getLogger(name) for name in ("pvc_node", "pvc_core")]
    disabled = logging.root.manager.disable
    logging.disable(logging.NOTSET)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    world.note = note
    try:
        yield
    finally:
        logging.disable(disabled)
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
