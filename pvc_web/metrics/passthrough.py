"""The metrics of Ceph and ZooKeeper as these give them."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import requests

from pvc_core.config import ZookeeperConfig
from pvc_core.errors import Unavailable
from pvc_core.model.storage import StorageStatus
from pvc_web.metrics.gauges import Gauges

_TIMEOUT = (1.0, 5.0)  # seconds to connect, and between two reads

# Words that ``mntr`` tells where others are numbers; each becomes the label of a gauge of 1.
_WORDS = {"zk_version": "version", "zk_server_state": "state"}


def of_ceph(storage: StorageStatus | None) -> bytes:
    """What the module ``prometheus`` of the active manager says. Raises Unavailable."""
    if storage is None or not storage.metrics_url:
        raise Unavailable("Ceph's active manager serves no metrics; turn them on: ceph mgr module enable prometheus")
    return _fetch(f"{storage.metrics_url.rstrip('/')}/metrics", "Ceph's active manager")


def of_zookeeper(config: ZookeeperConfig, here: str) -> bytes:
    """What the ZooKeeper server at the address ``here`` says, or the first one that answers. Raises Unavailable."""
    reasons = []
    for server in sorted(config.hosts, key=lambda server: server.rpartition(":")[0].strip("[]") != here):
        host, _, port = server.rpartition(":")
        try:
            if config.metrics_port:
                return _fetch(f"http://{host}:{config.metrics_port}/metrics", f"ZooKeeper at {host}")
            return _as_text(_monitor(host.strip("[]"), int(port)))
        except (OSError, Unavailable) as error:
            reasons.append(f"{server}: {error}")
    raise Unavailable(f"no ZooKeeper server gives its metrics: {'; '.join(reasons)}")


def _fetch(url: str, who: str) -> bytes:
    try:
        answer = requests.get(url, timeout=_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise Unavailable(f"the metrics of {who} cannot be read: {error}") from None
    return answer.content


def _monitor(host: str, port: int) -> str:
    """The answer to ``mntr``, one of ZooKeeper's commands of four letters. Raises OSError, and Unavailable where the
    server does not allow it."""
    with socket.create_connection((host, port), timeout=_TIMEOUT[0]) as server:
        server.settimeout(_TIMEOUT[1])
        server.sendall(b"mntr")
        answer = b"".join(iter(lambda: server.recv(1 << 16), b"")).decode(errors="replace")
    if not answer.startswith("zk_"):
        raise Unavailable(answer.strip() or "it said nothing")
    return answer


def _as_text(answer: str) -> bytes:
    """Lines of a name and a value, in Prometheus' form."""
    values = {}
    for line in answer.splitlines():
        name, _, value = line.partition("\t")
        values[re.sub(r"\W", "_", name)] = value.strip()
    gauges = Gauges({name: (_WORDS.get(name, ""), f"{name} as ZooKeeper's mntr tells it") for name in values})
    for name, value in values.items():
        if name in _WORDS:
            gauges.add(name, 1, value)
        else:
            with suppress(ValueError):  # a word that a later version tells
                gauges.add(name, float(value))
    return gauges.text()
