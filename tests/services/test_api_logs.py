"""Logs and consoles, which the API fetches from the nodes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from rest_framework.test import APIClient

from pvc_core.model.node import Addresses
from pvc_core.model.task import Role
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from tests.services import world

HERE, THERE = "127.0.0.1", "127.0.0.2"
LOGS = {
    (HERE, "/log"): [[1.0, "started"], [2.0, "ready"]],
    (HERE, f"/console/{world.WEB}"): [[30.0, "here 1"], [40.0, "here 2"]],
    (THERE, f"/console/{world.WEB}"): [[10.0, "there 1"], [20.0, "there 2"]],
}


class Daemon(BaseHTTPRequestHandler):
    """The part of a node's daemon that serves its logs."""

    def do_GET(self) -> None:
        config = connections.config()
        url = urlsplit(self.path)
        allowed = self.headers["X-Pvc-Secret"] == config.secret(config.daemon.cluster_secret_file)
        lines = LOGS.get((self.server.server_address[0], url.path))
        body = json.dumps({"lines": (lines or [])[-int(parse_qs(url.query)["lines"][0]) :]}).encode()
        self.send_response(403 if not allowed else 404 if lines is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[str], None]]:
    """Starts the log server of a node at an address."""
    servers = []

    def start(address: str) -> None:
        server = ThreadingHTTPServer((address, connections.config().daemon.listen_port), Daemon)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """A viewer's; node2 has an address of its own."""
    world.populate(cluster)
    entry = cluster.get(records.node("node2"))
    node = replace(entry.value, addresses=Addresses(cluster=f"{THERE}/8"))
    cluster.transaction().update(entry, node).commit()
    connections.view().settle()
    return api(Role.VIEWER)


def test_a_nodes_log_is_fetched_from_it(client: APIClient, serve: Callable[[str], None]) -> None:
    serve(HERE)
    assert client.get("/api/v1/node/node1/log").json() == {"name": "node1", "data": "started\nready"}
    assert client.get("/api/v1/node/node1/log?lines=1").json()["data"] == "ready"


def test_the_console_of_a_migrated_machine_is_one(client: APIClient, serve: Callable[[str], None]) -> None:
    serve(HERE)
    serve(THERE)
    answer = client.get("/api/v1/vm/web/console").json()
    assert answer == {"name": "web", "data": "there 1\nthere 2\nhere 1\nhere 2"}
    assert client.get("/api/v1/vm/web/console?lines=3").json()["data"] == "there 2\nhere 1\nhere 2"


def test_a_machine_that_wrote_nothing_has_an_empty_console(client: APIClient, serve: Callable[[str], None]) -> None:
    serve(THERE)
    assert client.get("/api/v1/vm/db/console").json() == {"name": "db", "data": ""}


def test_the_console_is_there_without_the_node_it_came_from(
    client: APIClient, cluster: ClusterState, serve: Callable[[str], None]
) -> None:
    serve(HERE)
    cluster.transaction().delete(cluster.get(records.alive("node2"))).commit()
    connections.view().settle()
    assert client.get("/api/v1/vm/web/console").json()["data"] == "here 1\nhere 2"


def test_a_silent_node_is_named(client: APIClient) -> None:
    for path in ("node/node1/log", "vm/web/console"):
        answer = client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "node1" in answer.json()["message"]


@pytest.mark.parametrize("lines", ["0", "-1", "many"])
def test_a_bad_number_of_lines_is_refused(client: APIClient, lines: str) -> None:
    answer = client.get("/api/v1/node/node1/log", {"lines": lines})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("lines: ")
