"""Hearing of changes of tasks as they are committed, over one database connection for the whole process."""

from __future__ import annotations

import logging
import select
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
from django.db import connection
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from psycopg2.extensions import connection as Connection

log = logging.getLogger(__name__)

CHANNEL = "pvc_task"
RETRY_INTERVAL = 1.0  # seconds between two attempts to reach the database
POLL_INTERVAL = 10.0  # seconds after which a silent connection is checked for being alive


@dataclass(frozen=True)
class Notice:
    """A task has changed. ``cancel`` is whether somebody wants it to stop."""

    task_id: uuid.UUID
    cancel: bool

    @staticmethod
    def parse(payload: str) -> Notice:
        task_id, cancel = payload.split()
        return Notice(uuid.UUID(task_id), cancel == "t")


Listener = Callable[[Notice | None], None]


class Notices:
    """Dispatches notices to the threads that wait for them. A lost connection is made again; after that, everyone is
    told to look for themselves, since notices of the meantime are gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._thread: threading.Thread | None = None
        self._following: bool | None = None  # None before the first attempt

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call ``listener`` with each notice for as long as the context lasts, and with None when some may have been
        missed. It is called from another thread and must return at once."""
        with self._lock:
            self._listeners.append(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    @contextmanager
    def watching(self, task_ids: Iterable[uuid.UUID]) -> Iterator[threading.Event]:
        """An event that is set whenever one of these tasks has changed, or may have."""
        wanted = frozenset(task_ids)
        changed = threading.Event()

        def listen(notice: Notice | None) -> None:
            if notice is None or notice.task_id in wanted:
                changed.set()

        with self.listening(listen):
            yield changed

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            try:
                self._follow()
            except psycopg2.Error as error:
                if self._following is not False:
                    log.warning("notices of tasks: none, since the database is away: %s", " ".join(str(error).split()))
                self._following = False
            pause.wait(RETRY_INTERVAL)

    def _follow(self) -> None:
        listening = _connect()
        try:
            with listening.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            if self._following is False:
                log.info("notices of tasks: the database is back")
            self._following = True
            self._tell(None)
            while True:
                if not select.select([listening], [], [], POLL_INTERVAL)[0]:
                    with listening.cursor() as cursor:
                        cursor.execute("SELECT 1")
                listening.poll()
                while listening.notifies:
                    self._tell(Notice.parse(listening.notifies.pop(0).payload))
        finally:
            listening.close()

    def _tell(self, notice: Notice | None) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(notice)


def _connect() -> Connection:
    made: Connection = connection.get_new_connection(connection.get_connection_params())
    made.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    return made


notices = Notices()
