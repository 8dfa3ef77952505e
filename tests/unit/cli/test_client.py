"""Requests as the API gets them, and errors as a person gets them, with the exit code."""

from __future__ import annotations

import socket
import threading

import pytest

from cli import connections
from cli.client import Client
from cli.connections import Connection
from cli.errors import Unreachable

from .fake_api import KEY


def test_reading_sends_key_and_filters(pvc, api) -> None:
    api.on("GET", "/vm", [])
    result = pvc("vm", "list", "^web", "-t", "node1", "-s", "start", "-g", "a tag", "-n")
    assert result.exit_code == 0
    (request,) = api.requests
    assert request.query == {
        "limit": ["^web"],
        "node": ["node1"],
        "state": ["start"],
        "tag": ["a tag"],
        "negate": ["true"],
    }
    assert request.headers["x-api-key"] == KEY
    assert "prefer" not in request.headers


def test_names_are_quoted_in_paths(pvc, api) -> None:
    pvc("vm", "info", "a/../b?c")
    assert api.requests[0].path == "/vm/a%2F..%2Fb%3Fc"


def test_writes_ask_for_the_task(pvc, api) -> None:
    api.accepts("POST", "/vm/web/state")
    assert pvc("vm", "start", "web").output == "It was done.\n"
    (write,) = api.writes()
    assert write.headers["prefer"] == "respond-async"
    assert write.body == {"state": "start", "force": False}


def test_a_write_that_is_done_at_once(pvc, api) -> None:
    api.on("POST", "/status", {"message": "Maintenance is on."})
    assert pvc("cluster", "maintenance", "on").output == "Maintenance is on.\n"
    assert api.writes()[0].body == {"state": True}


@pytest.mark.parametrize(
    ("status", "document", "exit_code", "says"),
    [
        (400, {"message": "limit is no regular expression", "code": "bad_request"}, 1, "no regular expression"),
        (403, {"message": "you may not do this", "code": "forbidden"}, 1, "you may not do this"),
        (404, {"message": "no VM web", "code": "not_found"}, 1, "no VM web"),
        (409, {"message": "in use by task 1", "code": "busy"}, 1, "in use by task 1"),
        (503, {"message": "no quorum", "code": "unavailable"}, 1, "no quorum"),
        (401, {"message": "wrong API key", "code": "unauthorized"}, 3, "does not accept the API key: wrong API key"),
        (502, b"<html>Bad gateway</html>", 3, "answers 502 with something that is not PVC's API"),
        (200, b"<html>Hello</html>", 3, "is not PVC's API"),
        (301, b"", 1, "the API answered 301"),
    ],
)
def test_errors_go_to_stderr_with_their_exit_code(pvc, api, status, document, exit_code, says) -> None:
    api.on("GET", "/vm", document, status=status)
    result = pvc("vm", "list")
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert KEY not in result.stderr


def test_nothing_listens(pvc, home) -> None:
    connections.save({"lab": Connection("lab", "127.0.0.1", 1)})
    result = pvc("vm", "list")
    assert result.exit_code == 3
    assert result.stderr == "Error: cluster lab at http://127.0.0.1:1 does not answer: Connection refused\n"


def test_a_host_name_that_is_none(pvc, home) -> None:
    connections.save({"lab": Connection("lab", "no-such-host.invalid")})
    assert pvc("vm", "list").exit_code == 3


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(Connection("lab", "127.0.0.1", server.getsockname()[1]), answer_timeout=0.1)
        with pytest.raises(Unreachable, match="no answer in time"):
            client.get("/api/v1/vm")


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    """Each of the two connections serves one request and closes, without having said so."""

    def serve(server: socket.socket) -> None:
        for _ in range(2):
            link, _ = server.accept()
            with link:
                link.recv(65536)
                link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        client = Client(Connection("lab", "127.0.0.1", server.getsockname()[1]))
        assert client.get("/api/v1/vm") == []
        assert client.get("/api/v1/vm") == []
        thread.join()


def test_debug_shows_requests_but_no_key(pvc, api) -> None:
    api.on("GET", "/vm", [])
    result = pvc("-v", "vm", "list")
    assert "GET /api/v1/vm -> 200" in result.stderr
    assert KEY not in result.stderr


def test_usage_errors_exit_with_2(pvc, api) -> None:
    for arguments in (
        ["vm", "flap"],
        ["vm", "start"],
        ["vm", "list", "-f", "xml"],
        ["vm", "memory", "set", "web", "much"],
    ):
        assert pvc(*arguments).exit_code == 2
    assert api.requests == []
