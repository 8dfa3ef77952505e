"""The database among several servers, and requests whose connection to it breaks."""

from __future__ import annotations

from collections.abc import Callable

import psycopg2
import pytest
from django.db import connection
from django.http import HttpResponse
from psycopg2 import OperationalError
from rest_framework.test import APIClient

from lab.local import LocalServices
from pvc_core.model.task import Role
from pvc_core.state.cluster import ClusterState
from pvc_web.database.base import Finder, Server
from pvc_web.tasks.models import Task
from tests.services.world import populate

SERVERS = [Server(f"db{number}", "5432") for number in (1, 2, 3)]


class Servers:
    """Servers of which one takes writes. ``elect`` is who it is after so many tries in vain."""

    def __init__(self, leader: Server | None = None, elect: tuple[int, Server] | None = None) -> None:
        self.leader = leader
        self.asked: list[Server] = []
        self._elect = elect

    def connect(self, server: Server) -> str:
        self.asked.append(server)
        if self._elect and len(self.asked) > self._elect[0]:
            self.leader = self._elect[1]
        if server != self.leader:
            raise OperationalError("session is read-only")
        return f"a connection to {server.host}"


def test_the_server_that_takes_writes_is_found_and_asked_first_from_then_on() -> None:
    finder, servers = Finder(), Servers(SERVERS[2])
    assert finder.connect(SERVERS, servers.connect) == "a connection to db3"
    servers.asked.clear()
    finder.connect(SERVERS, servers.connect)
    assert servers.asked == [SERVERS[2]]


def test_a_server_that_is_silent_holds_nobody_up() -> None:
    finder, servers = Finder(), Servers(SERVERS[1])
    finder.note_silence(SERVERS[0])
    finder.connect(SERVERS, servers.connect)
    assert servers.asked == [SERVERS[1]]


def test_a_successor_is_waited_for() -> None:
    servers = Servers(elect=(5, SERVERS[1]))
    assert Finder().connect(SERVERS, servers.connect) == "a connection to db2"


def test_a_leader_that_is_long_missed_is_waited_for_no_more() -> None:
    finder, servers = Finder(patience=0.5), Servers()
    with pytest.raises(OperationalError, match="no server takes writes: db1:5432: session is read-only; db2:5432"):
        finder.connect(SERVERS, servers.connect)
    assert len(servers.asked) > len(SERVERS)
    servers.asked.clear()
    with pytest.raises(OperationalError):
        finder.connect(SERVERS, servers.connect)
    assert servers.asked == SERVERS


def test_a_single_server_has_no_successor_to_wait_for() -> None:
    servers = Servers()
    with pytest.raises(OperationalError):
        Finder().connect(SERVERS[:1], servers.connect)
    assert servers.asked == SERVERS[:1]


def break_connection(services: LocalServices) -> None:
    """End this thread's connection from the server's side, as the server's death does."""
    connection.ensure_connection()
    other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
    with other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
    other.close()


def test_a_request_that_looks_bears_the_loss_of_its_connection(
    services: LocalServices, cluster: ClusterState, api: Callable[[Role | None], APIClient]
) -> None:
    client = api(Role.VIEWER)
    break_connection(services)
    assert client.get("/api/v1/tasks").status_code == 200


def test_a_request_for_work_that_lost_its_connection_says_that_it_may_have_been_accepted(
    services: LocalServices, cluster: ClusterState, api: Callable[[Role | None], APIClient]
) -> None:
    populate(cluster)
    client = api(Role.ADMINISTRATOR)
    break_connection(services)
    answer = client.post("/api/v1/vm/web/state", {"state": "restart"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "look at the tasks before you ask again" in answer.json()["message"]
    connection.close()
    assert not Task.objects.exists()


def test_a_page_says_when_the_database_is_away(services: LocalServices, database: None) -> None:
    def visit() -> HttpResponse:
        client = APIClient(raise_request_exception=False)
        client.cookies["sessionid"] = "0" * 32
        return client.get("/ui/overview")

    assert visit().status_code == 302  # to the login
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")  # the services for tests do not flush each commit
    services.kill("postgresql")
    try:
        answer = visit()
        assert answer.status_code == 503
        assert b"the database does not answer; try again in a few seconds" in answer.content
    finally:
        connection.close()
        services.start_service("postgresql")
        services.wait("postgresql")
