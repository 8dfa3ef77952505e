"""Bearing with a database, or a ZooKeeper, that is away for a while: tasks wait for it and are not lost to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from pvc_core.errors import Unavailable

log = logging.getLogger(__name__)

RETRY_INTERVAL = 1.0  # seconds between two attempts

T = TypeVar("T")


def persist(what: str, action: Callable[[], T]) -> T:
    """The outcome of ``action``, tried again for as long as what it needs does not answer.

    Whether the last attempt was done, and only its answer lost, is not known; so it must be one that can be done twice.
    """
    pause = threading.Event()
    while True:
        try:
            return action()
        except (OperationalError, InterfaceError, Unavailable) as error:
            log.warning("%s waits: %s", what, " ".join(str(error).split()))
        connection.close()
        pause.wait(RETRY_INTERVAL)
