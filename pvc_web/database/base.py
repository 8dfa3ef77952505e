"""Django's backend for PostgreSQL, on whichever of several servers takes writes.

libpq can go through a list of servers too. But it ends at one that breaks off while it starts or stops, waits for a
dead one anew with each connection, and waits for the answer of one that hangs for ever.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.db.backends.postgresql import base
from psycopg2 import OperationalError, extensions

PROMPT = 2  # seconds that a server gets to accept a connection, or to say that it is there
ANSWER_TIMEOUT = 5  # seconds of silence after which a server is given up; a commit may wait for a dead standby for half
PATIENCE = 10.0  # seconds that callers wait for a successor, counted from when the first of them missed the leader
RETRY_INTERVAL = 0.25  # seconds between two searches for it
SILENCE = 3.0  # seconds for which a server that did not answer at all is not asked again


class Server(NamedTuple):
    host: str
    port: str


class Finder:
    """What the threads of a process know of the servers, so that each need not find out for itself."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self.leader: Server | None = None
        self._silent_until: dict[Server, float] = {}
        self._missed_since: float | None = None

    def connect(self, servers: Sequence[Server], connect: Callable[[Server], Any]) -> Any:
        """A connection to the server that takes writes, from ``connect``, which raises OperationalError for any other.

        Where there are several, one is waited for: for a while after it was first missed, and then no more until it has
        been there again. Raises OperationalError with what each of them said.
        """
        while True:
            said: list[str] = []
            for server in self._order(servers):
                begun = time.monotonic()
                try:
                    connection = connect(server)
                except OperationalError as error:
                    said.append(f"{server.host}:{server.port}: {' '.join(str(error).split())}")
                    if time.monotonic() - begun >= PROMPT / 2:
                        self.note_silence(server)
                else:
                    self.leader, self._missed_since = server, None
                    return connection
            if len(servers) == 1 or time.monotonic() > self._missed() + self._patience:
                raise OperationalError("no server takes writes: " + "; ".join(said))
            time.sleep(RETRY_INTERVAL)

    def note_silence(self, server: Server) -> None:
        self._silent_until[server] = time.monotonic() + SILENCE

    def _order(self, servers: Sequence[Server]) -> list[Server]:
        """The last leader first, and without those that are silent, unless all are."""
        now = time.monotonic()
        answering = [server for server in servers if self._silent_until.get(server, now) <= now]
        return sorted(answering or servers, key=lambda server: server != self.leader)

    def _missed(self) -> float:
        with self._lock:
            if self._missed_since is None:
                self._missed_since = time.monotonic()
            return self._missed_since


_finder = Finder()
_local = threading.local()  # ``limit``: seconds of silence that this thread bears now, if not ANSWER_TIMEOUT


def _server(connection: Any) -> Server:
    return Server(connection.info.host, str(connection.info.port))


class DatabaseWrapper(base.DatabaseWrapper):
    """``HOST`` and ``PORT`` are lists, separated by commas, as libpq has them."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        hosts, ports = conn_params["host"].split(","), conn_params["port"].split(",")
        servers = [Server(host, port) for host, port in zip(hosts, ports, strict=True)]
        connect = super().get_new_connection
        return _finder.connect(servers, lambda server: connect(conn_params | server._asdict()))

    def is_usable(self) -> bool:
        """Whether to keep the connection. One thread's finding that the leader is another spares the others the wait
        for the old one's answer."""
        _local.limit = PROMPT
        try:
            return _server(self.connection) == _finder.leader and super().is_usable()
        finally:
            del _local.limit


def limit_answers() -> None:
    """Give a server up, from now on and in the whole process, that is silent for ANSWER_TIMEOUT. For those who serve
    others, and not for a migration, whose statements may take their time."""
    extensions.set_wait_callback(_wait)


def _wait(connection: Any) -> None:
    settled = connection.status in (extensions.STATUS_READY, extensions.STATUS_BEGIN)
    limit = getattr(_local, "limit", ANSWER_TIMEOUT) if settled else PROMPT
    events = {extensions.POLL_READ: select.POLLIN, extensions.POLL_WRITE: select.POLLOUT}
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()
        poller.register(connection.fileno(), events[state])
        give_up = time.monotonic() + limit
        while not poller.poll(RETRY_INTERVAL * 1000):
            if settled and _server(connection) != _finder.leader:
                raise OperationalError("the server is silent, and another takes writes by now")
            if time.monotonic() > give_up:
                if settled:
                    _finder.note_silence(_server(connection))
                raise OperationalError(f"the server was silent for {limit} s")
