"""Logs and consoles, fetched from the nodes that keep them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from http import HTTPStatus

import msgspec
import requests

from pvc_core.config import Config
from pvc_core.errors import Unavailable
from pvc_core.model.node import Addresses, Node

Line = tuple[float, str]  # seconds since the epoch, text

_TIMEOUT = (1.0, 5.0)  # seconds to connect, and between two reads
_SECRET_HEADER = "X-Pvc-Secret"


class _Log(msgspec.Struct):
    lines: list[Line]


def fetch(config: Config, node: Node, path: str, lines: int) -> list[Line]:
    """The newest lines of the log at ``path`` on a node, oldest first; none of a console on which nothing was written
    there. Raises Unavailable when it does not answer."""
    host = Addresses.host(node.addresses.cluster)
    if not host:
        raise Unavailable(f"node {node.name} has no address in the cluster network")
    url = f"http://{host}:{config.daemon.listen_port}{path}"
    headers = {_SECRET_HEADER: config.secret(config.daemon.cluster_secret_file)}
    try:
        answer = requests.get(url, params={"lines": lines}, headers=headers, timeout=_TIMEOUT)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return []
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=_Log).lines[-lines:]
    except requests.ConnectionError:
        raise Unavailable(f"the daemon of node {node.name} does not answer, and it keeps this log") from None
    except (requests.RequestException, msgspec.DecodeError) as error:
        raise Unavailable(f"the log on node {node.name} cannot be read: {error}") from None


def merge(parts: Iterable[list[Line]], lines: int) -> list[Line]:
    """Several logs as one in the order of time, no more than its newest ``lines``."""
    return list(heapq.merge(*parts, key=lambda line: line[0]))[-lines:]


def text(lines: Iterable[Line]) -> str:
    return "\n".join(line for _, line in lines)
