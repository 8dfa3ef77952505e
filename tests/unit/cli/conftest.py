"""``pvc``, run against an API that remembers what it was asked and answers what the test lays out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import connections
from cli.connections import Connection
from cli.main import main

from .fake_api import KEY, FakeApi, handler


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any connection, for this process and those it starts."""
    monkeypatch.setenv(connections.DIRECTORY_VARIABLE, str(tmp_path / "home"))
    for variable in ("PVC_CONNECTION", "NO_COLOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "home"


@pytest.fixture
def api(home: Path) -> Iterator[FakeApi]:
    """A server, known as the connection ``lab``."""
    fake = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.port = server.server_port
    connections.save({"lab": Connection("lab", "127.0.0.1", fake.port, api_key=KEY)})
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


Pvc = Callable[..., Result]


@pytest.fixture
def pvc(home: Path) -> Pvc:
    """Runs ``pvc`` with these arguments in this process; its output is no terminal."""

    def run(*arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, prog_name="pvc", input=input)

    return run
