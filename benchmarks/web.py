"""The API as it is served, over backing services of its own, and a client that takes the time."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.local import LocalServices

CHECKOUT = Path(__file__).resolve().parent.parent
START_LIMIT = 60.0  # seconds for a process to answer


@dataclass(frozen=True)
class Site:
    """Where an API answers, and to whom."""

    address: str  # host:port
    token_file: Path

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()


@dataclass(frozen=True)
class Answer:
    """``first_byte`` and ``total`` in milliseconds since the request was sent."""

    status: int
    body: bytes
    first_byte: float
    total: float


class Client:
    """One connection that is kept open. Raises OSError or HTTPException when the server does not answer."""

    def __init__(self, site: Site) -> None:
        self._headers = {"X-Api-Key": site.token}
        self._connection = http.client.HTTPConnection(site.address, timeout=60)

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        if self._connection.sock is None:
            self._connection.connect()
        began = time.perf_counter()
        self._connection.request(method, path, headers=self._headers | (headers or {}))
        response = self._connection.getresponse()
        first_byte = time.perf_counter()
        body = response.read()
        ended = time.perf_counter()
        return Answer(response.status, body, (first_byte - began) * 1000, (ended - began) * 1000)

    def get(self, path: str) -> Answer:
        """Raises RuntimeError unless the answer is 200."""
        answer = self.request("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path} answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        self._connection.close()


def get(site: Site, path: str) -> Answer:
    """One request on a connection of its own, so that several of them meet every process of the server."""
    client = Client(site)
    try:
        return client.get(path)
    finally:
        client.close()


def free_address() -> str:
    """An address of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def environment(services: LocalServices) -> dict[str, str]:
    return os.environ | {"PVC_CONFIG_FILE": str(services.config_file), "PYTHONPATH": str(CHECKOUT)}


@contextmanager
def daemon(services: LocalServices, name: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of this checkout that lasts as long as the context; its output goes to ``<name>.log``."""
    with (services.directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", sys.executable, *arguments],  # a benchmark that is killed leaves none
            env=environment(services) | variables,
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def api(services: LocalServices) -> Iterator[Site]:
    """Make the tables and the first user, and serve the API with the project's own settings."""
    token_file = services.directory / "admin.token"
    password_file = services.directory / "admin.password"
    _manage(services, "migrate", "--noinput")
    _manage(
        services,
        *("create_admin", "--username", "admin"),
        *("--password-file", str(password_file), "--token-file", str(token_file)),
    )
    site = Site(yaml.safe_load(services.config_file.read_text())["api"]["listen"], token_file)
    arguments = ("-m", "gunicorn", "-c", "python:pvc_web.config.gunicorn", "pvc_web.config.wsgi")
    with daemon(services, "web", *arguments) as process:
        await_answer(site, "/api/v1/status", process, services.directory / "web.log")
        yield site


def await_answer(site: Site, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``path`` is answered with 200. Raises RuntimeError with the end of the log when it is not."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            get(site, path)
            return
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{path} was not answered ({error}); the end of the log:\n{_tail(log)}") from None
            time.sleep(0.1)


def _manage(services: LocalServices, *arguments: str) -> None:
    argv: Sequence[str] = [sys.executable, str(CHECKOUT / "manage.py"), *arguments]
    result = subprocess.run(argv, env=environment(services), cwd=CHECKOUT, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"manage.py {arguments[0]} ended with {result.returncode}: {result.stderr.strip()}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
