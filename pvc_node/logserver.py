"""Serves the node's log and its machines' consoles to the API, over HTTP on the cluster network."""

from __future__ import annotations

import hmac
import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from pvc_core.errors import BadRequest, NotFound, PvcError, Unauthorized
from pvc_node.consoles import Consoles
from pvc_node.nodelog import Line, Ring

log = logging.getLogger(__name__)

SECRET_HEADER = "X-Pvc-Secret"
DEFAULT_LINES = 100
REQUEST_TIMEOUT = 10.0  # seconds for a caller to send its request


class LogServer:
    """``GET /log?lines=N`` and ``GET /console/<uuid>?lines=N`` answer ``{"lines": [[time, text], ...]}``."""

    def __init__(self, address: str, port: int, secret: str, ring: Ring, consoles: Consoles) -> None:
        """Raises BadRequest when it cannot listen there."""
        if not secret:
            raise BadRequest("the cluster's secret is empty: put some random characters into its file")
        self._secret = secret.encode()
        self._ring = ring
        self._consoles = consoles
        try:
            self._server = _Server((address, port), self)
        except OSError as error:
            raise BadRequest(f"the log endpoint cannot listen on {address} port {port}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="logserver", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str, secret: str) -> dict[str, list[Line]]:
        """Raises Unauthorized, BadRequest or NotFound."""
        if not hmac.compare_digest(secret.encode(), self._secret):
            raise Unauthorized(f"the header {SECRET_HEADER} does not hold the cluster's secret")
        url = urlsplit(target)
        lines = _lines(parse_qs(url.query))
        match url.path.strip("/").split("/"):
            case ["log"]:
                return {"lines": self._ring.tail(lines)}
            case ["console", uuid]:
                found = self._consoles.tail(uuid, lines)
                if found is None:
                    raise NotFound(f"this node has no console log of {uuid}")
                return {"lines": found}
        raise NotFound("there are /log and /console/<uuid>")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], logs: LogServer) -> None:
        self.logs = logs
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base class' call
        log.debug("a request from %s broke off", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_TIMEOUT

    def do_GET(self) -> None:
        try:
            self._send(HTTPStatus.OK, self.server.logs.answer(self.path, self.headers.get(SECRET_HEADER, "")))
        except PvcError as error:
            self._send(error.status, {"message": error.message, "code": error.code})

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _send(self, status: int, content: object) -> None:
        body = msgspec.json.encode(content)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _lines(query: dict[str, list[str]]) -> int:
    text = query.get("lines", [str(DEFAULT_LINES)])[-1]
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"lines is {text!r}; it is a number of lines, 0 or more")
    return int(text)
