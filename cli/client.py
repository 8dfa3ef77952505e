"""The one HTTP client. On ``http.client``, since a command's life is short and larger libraries take longer to import
than most commands take to run."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import IO, Any
from urllib.parse import quote, urlencode

from cli.connections import Connection
from cli.errors import CliError, NoAccess, Refused, Unreachable

CONNECT_TIMEOUT = 5.0  # seconds
ANSWER_TIMEOUT = 60.0
UPLOAD_TIMEOUT = 600.0  # the server stores the whole image before it answers
UPLOAD_CHUNK = 1 << 20  # bytes

Query = Mapping[str, object]


class Client:
    """Requests to one cluster. Methods answer the parsed document; they raise Refused, NoAccess or Unreachable."""

    def __init__(
        self,
        connection: Connection,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.connection = connection
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._trace = trace
        self._http: http.client.HTTPConnection | None = None

    def get(self, path: str, query: Query | None = None) -> Any:
        reused = self._http is not None and self._http.sock is not None
        try:
            return self._exchange("GET", path, query)
        except Unreachable:
            # A server may close an idle connection at any time. Reading twice is harmless, so try a fresh one.
            if not reused:
                raise
            return self._exchange("GET", path, query)

    def write(self, method: str, path: str, query: Query | None = None, body: Query | None = None) -> Any:
        """Change something. The server is asked to answer at once with the task that does the work."""
        self.close()  # a connection that the server has closed meanwhile would leave open whether the write arrived
        headers = {"Prefer": "respond-async"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        return self._exchange(method, path, query, data, headers)

    def upload(
        self, path: str, query: Query, stream: IO[bytes], name: str, size: int, progress: Callable[[int], object]
    ) -> Any:
        """Send ``size`` bytes of ``stream`` as the form field ``file``, a chunk at a time; ``progress`` is told each
        chunk's length."""
        self.close()
        boundary = f"pvc-{time.time_ns():x}"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quote(name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Prefer": "respond-async",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        return self._exchange("POST", path, query, _parts(head, stream, size, tail, progress), headers, UPLOAD_TIMEOUT)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _exchange(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        target = path + _encode(query)
        began = time.monotonic()
        try:
            link = self._connected(timeout or self._answer_timeout)
            _send(link, method, target, body, {"X-Api-Key": self.connection.api_key, **(headers or {})})
            response = link.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{self._where} does not answer: {_reason(error)}") from None
        except BaseException:  # interrupted by the person: the connection is in the middle of an exchange
            self.close()
            raise
        if self._trace:
            took = 1000 * (time.monotonic() - began)
            self._trace(f"{method} {target} -> {response.status}, {len(content)} bytes, {took:.0f} ms")
        return self._understood(response.status, content)

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        if self._http is None or self._http.sock is None:
            kind = http.client.HTTPSConnection if self.connection.ssl else http.client.HTTPConnection
            link = kind(self.connection.address, self.connection.port, timeout=self._connect_timeout)
            link.connect()
            self._http = link
        self._http.sock.settimeout(timeout)
        return self._http

    def _understood(self, status: int, content: bytes) -> Any:
        try:
            document = json.loads(content) if content else {}
        except ValueError:
            document = None
        if status == 401:
            raise NoAccess(f"{self._where} does not accept the API key: {_message(document) or 'unauthorized'}")
        if document is None or (status >= 500 and not _message(document)):
            raise Unreachable(f"{self._where} answers {status} with something that is not PVC's API")
        if status >= 300:
            code = document.get("code", "") if isinstance(document, dict) else ""
            raise Refused(_message(document) or f"the API answered {status}", status, code)
        return document

    @property
    def _where(self) -> str:
        return f"cluster {self.connection.name} at {self.connection.url}"


def _encode(query: Query | None) -> str:
    """The query string, without what is None; booleans as the API writes them, lists as repeated names."""
    if not query:
        return ""
    given = {k: str(v).lower() if isinstance(v, bool) else v for k, v in query.items() if v is not None}
    return "?" + urlencode(given, doseq=True) if given else ""


def _send(link: http.client.HTTPConnection, method: str, target: str, body: Any, headers: Mapping[str, str]) -> None:
    try:
        link.request(method, target, body=body, headers=dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses a long body answers and closes before it has read all of it; the answer says why.
        if "Content-Length" not in headers:
            raise


def _parts(head: bytes, stream: IO[bytes], size: int, tail: bytes, progress: Callable[[int], object]) -> Any:
    yield head
    left = size
    while left:
        chunk = stream.read(min(UPLOAD_CHUNK, left))
        if not chunk:
            raise CliError("the image file became shorter while it was sent")
        left -= len(chunk)
        progress(len(chunk))
        yield chunk
    yield tail


def _message(document: object) -> str:
    return str(document.get("message", "")) if isinstance(document, dict) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
