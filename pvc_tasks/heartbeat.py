"""Keeps the claims of one worker alive, all by one statement, and hears of tasks that have to stop."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error as DatabaseError
from django.db import connection

from pvc_tasks import claims
from pvc_tasks.execution import Execution
from pvc_web.tasks.notices import Notice, notices

log = logging.getLogger(__name__)

RETRY_INTERVAL = 0.5  # seconds between two attempts while the database is away


class Heartbeat:
    """A thread that confirms, every ``interval`` seconds, that each execution still owns its task."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._held: dict[uuid.UUID, Execution] = {}  # by id of the task
        self._beating = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def holding(self, execution: Execution) -> Iterator[None]:
        with self._lock:
            self._held[execution.task.id] = execution
        try:
            yield
        finally:
            with self._lock:
                del self._held[execution.task.id]

    def executions(self) -> list[Execution]:
        """What runs now."""
        with self._lock:
            return list(self._held.values())

    def _run(self) -> None:
        with notices.listening(self._on_notice):
            while not self._stop.wait(self._interval if self._beating else min(self._interval, RETRY_INTERVAL)):
                try:
                    self._beat()
                except DatabaseError as error:
                    if self._beating:
                        log.warning("heartbeat: none, since the database is away: %s", " ".join(str(error).split()))
                    self._beating = False
                    connection.close()
        connection.close()

    def _beat(self) -> None:
        connection.ensure_connection()  # which may take a while, that is not to be counted
        asked_at = time.monotonic()
        executions = self.executions()
        if not executions:
            return
        standing = claims.beat([execution.task.claim for execution in executions])
        if not self._beating:
            log.info("heartbeat: the database is back")
        self._beating = True
        for execution in executions:
            cancel = standing.get(execution.task.claim)
            if cancel is None:
                execution.lose()
            else:
                execution.confirm(asked_at, cancel)

    def _on_notice(self, notice: Notice | None) -> None:
        if notice is not None and notice.cancel:
            with self._lock:
                execution = self._held.get(notice.task_id)
            if execution is not None:
                execution.cancel()
