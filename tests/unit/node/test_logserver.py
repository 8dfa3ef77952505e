"""Logs are served to who shows the cluster's secret, and to nobody else."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import BadRequest
from pvc_core.fakes.clock import FakeClock
from pvc_node.consoles import Consoles
from pvc_node.logserver import LogServer
from pvc_node.nodelog import FORMAT, Ring

UUID = "11111111-1111-1111-1111-111111111111"
SECRET = "s3cret"


@pytest.fixture(scope="module")
def ring() -> Ring:
    ring = Ring(5)
    ring.setFormatter(logging.Formatter("%(message)s"))
    return ring


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ring: Ring) -> Iterator[LogServer]:
    tmp_path = tmp_path_factory.mktemp("consoles")
    (tmp_path / f"{UUID}.log").write_text("one\ntwo\n")
    consoles = Consoles(tmp_path, 100, FakeClock())
    consoles.scan()
    server = LogServer("127.0.0.1", 0, SECRET, ring, consoles)
    server.start()
    yield server
    server.close()


def get(server: LogServer, path: str, secret: str | None = SECRET) -> tuple[int, Any]:
    headers = {} if secret is None else {"X-Pvc-Secret": secret}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_nodes_log_is_served(server: LogServer, ring: Ring) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "first\nsecond", None, None)
    ring.handle(record)
    assert get(server, "/log?lines=1") == (200, {"lines": [[record.created, "second"]]})
    assert get(server, "/log") == (200, {"lines": [[record.created, "first"], [record.created, "second"]]})


def test_a_console_is_served(server: LogServer) -> None:
    status, answer = get(server, f"/console/{UUID}?lines=1")
    assert status == 200
    assert [text for _, text in answer["lines"]] == ["two"]


@pytest.mark.parametrize("secret", [None, "", "s3cre", "s3crets", "S3CRET", "s3cr\xe9t"])
def test_without_the_secret_nothing_is_served(server: LogServer, secret: str | None) -> None:
    status, answer = get(server, "/log", secret)
    assert status == 401
    assert answer["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/log?lines=many", 400, "lines is 'many'"),
        ("/log?lines=-1", 400, "lines is '-1'"),
        ("/console/22222222-2222-2222-2222-222222222222", 404, "no console log"),
        ("/console", 404, "there are /log and /console/<uuid>"),
        ("/", 404, "there are /log and /console/<uuid>"),
        ("/console/../../etc/passwd", 404, "there are"),
    ],
)
def test_bad_requests_are_told_what_would_be_right(server: LogServer, path: str, status: int, words: str) -> None:
    answered, answer = get(server, path)
    assert answered == status
    assert words in answer["message"]


def test_a_taken_port_and_an_empty_secret_are_named(tmp_path: Path, ring: Ring) -> None:
    consoles = Consoles(tmp_path, 1, FakeClock())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadRequest, match=f"cannot listen on 127.0.0.1 port {port}"):
            LogServer("127.0.0.1", port, SECRET, ring, consoles)
    with pytest.raises(BadRequest, match="secret is empty"):
        LogServer("127.0.0.1", 0, "", ring, consoles)


def test_the_ring_keeps_the_newest_lines() -> None:
    ring = Ring(3)
    ring.setFormatter(logging.Formatter(FORMAT))
    for number in range(10):
        ring.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    assert [text[-6:] for _, text in ring.tail(10)] == ["line 7", "line 8", "line 9"]
    assert [text[-6:] for _, text in ring.tail(2)] == ["line 8", "line 9"]
    assert ring.tail(0) == []
