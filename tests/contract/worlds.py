"""Worlds in which one contract is tried: over the fake, and over the real thing behind the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from kazoo.client import KazooClient

from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.ports import Session, Store
from tests.contract.proxy import Proxy


def eventually(condition: Callable[[], bool], timeout: float = 15.0) -> None:
    """Wait until ``condition`` holds; fails the test after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


class StoreWorld(Protocol):
    """Opens stores, and breaks their connections."""

    def connect(self) -> Store: ...

    def suspend(self, store: Store) -> None: ...

    def resume(self, store: Store) -> None:
        """Mend the connection, and wait until the store has noticed."""

    def expire(self, store: Store) -> None:
        """End the session on the servers; the store stays suspended when it is."""

    def close(self) -> None: ...


class FakeStoreWorld:
    def __init__(self) -> None:
        self.cluster = FakeCluster()

    def connect(self) -> FakeStore:
        return self.cluster.connect()

    def suspend(self, store: FakeStore) -> None:
        store.suspend()

    def resume(self, store: FakeStore) -> None:
        store.resume()

    def expire(self, store: FakeStore) -> None:
        store.expire()

    def close(self) -> None:
        pass


class ZookeeperWorld:
    """Each store reaches the one server through a proxy of its own. What tests make is removed at the end."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._proxies: dict[ZookeeperStore, Proxy] = {}

    def connect(self) -> ZookeeperStore:
        proxy = Proxy(self._address)
        store = ZookeeperStore(ZookeeperConfig(hosts=(proxy.address,), session_timeout=6.0))
        self._proxies[store] = proxy
        return store

    def suspend(self, store: ZookeeperStore) -> None:
        self._proxies[store].cut()
        eventually(lambda: store.session is not Session.CONNECTED)

    def resume(self, store: ZookeeperStore) -> None:
        self._proxies[store].heal()
        eventually(lambda: store.session is Session.CONNECTED)

    def expire(self, store: ZookeeperStore) -> None:
        # A second client that joins the session and closes it ends it for the first one too.
        owner = store.owner
        other = KazooClient(self._address, client_id=(owner, store._client._session_passwd))
        other.start()
        other.stop()
        other.close()
        if self._proxies[store]._open:
            eventually(lambda: store.session is Session.CONNECTED and store.owner != owner)

    def close(self) -> None:
        for store, proxy in self._proxies.items():
            store.close()
            proxy.close()
        client = KazooClient(self._address)
        client.start()
        client.delete("/pvc", recursive=True)
        client.stop()
        client.close()
