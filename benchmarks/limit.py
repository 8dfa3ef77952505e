"""The least that could answer: the documents in memory, decoded, and serialised for each request.

Served by gunicorn with the processes and threads of the API, as ``limit_gunicorn`` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

DIRECTORY_VARIABLE = "PVC_BENCHMARK_DOCUMENTS"


def store(directory: Path, path: str, body: bytes) -> None:
    """Keep what ``path`` (with its query) is to be answered with: a JSON document, or text, kept as JSON's string."""
    document = body if body[:1] in (b"[", b"{") else msgspec.json.encode(body.decode())
    (directory / quote(path, safe="")).write_bytes(document)


def _load() -> dict[str, Any]:
    files = Path(os.environ[DIRECTORY_VARIABLE]).iterdir()
    return {file.name: msgspec.json.decode(file.read_bytes()) for file in files}


_documents: dict[str, Any] = {}


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    if not _documents:
        _documents.update(_load())
    query = environ["QUERY_STRING"]
    path = environ["PATH_INFO"] + (f"?{query}" if query else "")
    body = msgspec.json.encode(_documents[quote(path, safe="")])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
