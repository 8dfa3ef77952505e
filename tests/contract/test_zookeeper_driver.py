"""What the store over ZooKeeper does beside its contract: its session outlives the server that it is connected to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.errors import Unavailable
from pvc_core.ports import Session
from tests.contract.proxy import Proxy
from tests.contract.worlds import eventually

pytestmark = pytest.mark.services

REQUESTS = 8


@pytest.fixture
def silent() -> Iterator[str]:
    """An address at which nobody takes up a connection, and nobody refuses it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # until its queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_falls_silent_is_left_before_the_session_ends(zookeeper: str, silent: str) -> None:
    """Though requests go on being made, which kazoo takes for signs of life, and another server is silent as well."""
    with closing(Proxy(zookeeper)) as one, closing(Proxy(zookeeper)) as other:
        store = ZookeeperStore(ZookeeperConfig((one.address, other.address, silent), session_timeout=6.0))
        requests = [threading.Timer(number, _ask, [store]) for number in range(REQUESTS)]
        try:
            owner, seen = store.owner, []
            store.on_session(seen.append)
            lost, next_one = (one, other) if one.in_use else (other, one)
            lost.fall_silent()
            for request in requests:
                request.start()
            eventually(lambda: next_one.in_use and store.session is Session.CONNECTED)
            assert store.owner == owner
            assert Session.LOST not in seen
        finally:
            for request in requests:
                request.cancel()
            store.close()


def _ask(store: ZookeeperStore) -> None:
    with suppress(Unavailable):
        store.get("/")
