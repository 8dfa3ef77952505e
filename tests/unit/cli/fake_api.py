"""An API that remembers what it was asked and answers what the test lays out."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "a-key-of-forty-characters-that-is-secret"
TASK = "5b6b1d1e-6b1f-4f0e-9f8e-0d9a5a1b2c3d"


@dataclass
class Request:
    """One request as it arrived. ``path`` is without the API's prefix."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


Reply = tuple[int, Any]


@dataclass
class FakeApi:
    """``on`` lays out answers: of several for one call, each is given once and the last for ever."""

    requests: list[Request] = field(default_factory=list)
    replies: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)
    port: int = 0

    def on(self, method: str, path: str, *replies: Any, status: int = 200) -> None:
        """Answer ``path`` with these documents, one after the other. A callable is called for its document."""
        self.replies[method, path] = [(status, document) for document in replies]

    def accepts(self, method: str, path: str, *states: dict[str, Any]) -> None:
        """A write that is accepted as a task, which then goes through these states and succeeds unless they end it."""
        answer = {"message": "accepted", "task_id": TASK, "task_name": "a.task", "run_on": "node1"}
        self.on(method, path, answer, status=202)
        done = {"state": "SUCCESS", "result": {"message": "It was done."}, "current": 1, "total": 1}
        tasks = states or (done,)
        self.on("GET", f"/tasks/{TASK}", *({"task_id": TASK, "status": "", "left": [], **task} for task in tasks))

    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.method != "GET"]

    def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        replies = self.replies.get((request.method, request.path))
        if request.headers.get("x-api-key") != KEY:
            return 401, {"message": "wrong API key", "code": "unauthorized"}
        if not replies:
            return 404, {"message": f"there is nothing at {request.path}", "code": "not_found"}
        status, document = replies.pop(0) if len(replies) > 1 else replies[0]
        return status, document() if callable(document) else document


def handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the test may have gone while it was answered
                super().handle()

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            request = Request(
                self.command,
                parts.path.removeprefix("/api/v1"),
                parse_qs(parts.query),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            )
            status, document = api.answer(request)
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Not on the test's output."""

    return Handler
