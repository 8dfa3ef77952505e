"""The watched view over a real ZooKeeper: at size, and through the server's death."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.local import LocalServices
from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.errors import Unavailable
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.ports import Create, Session, Update
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from tests.contract.worlds import eventually

pytestmark = pytest.mark.services

MACHINES = 7_500  # four records each: 30,000
BATCH = 50
LOAD_LIMIT = 10.0  # seconds; about two are usual, and the machine may be busy
XML = "<domain>" + "x" * 3000 + "</domain>"


@pytest.fixture
def services() -> Iterator[LocalServices]:
    with LocalServices(postgresql=False, redis=False) as services:
        yield services


@pytest.fixture
def store(services: LocalServices) -> Iterator[ZookeeperStore]:
    store = ZookeeperStore(ZookeeperConfig(hosts=(services.zookeeper,)))
    ClusterState(store).prepare()
    yield store
    store.close()


def vm(number: int) -> Vm:
    return Vm(f"00000000-0000-4000-8000-{number:012d}", f"vm{number}", VmState.START, "node1")


def define(store: ZookeeperStore, numbers: range) -> None:
    status = VmStatus(RunState.RUNNING, "node1", 1)
    for first in range(numbers.start, numbers.stop, BATCH):
        writes = []
        for machine in map(vm, range(first, min(first + BATCH, numbers.stop))):
            key = records.vm_status(machine.uuid)
            writes += [
                Create(records.vm(machine.uuid).path, records.vm(machine.uuid).encode(machine)),
                Create(key.path, key.encode(status)),
                Create(records.vm_xml(machine.uuid).path, XML.encode()),
                Create(records.vm_name(machine.name).path, b'{"uuid":"%s"}' % machine.uuid.encode()),
            ]
        store.commit(writes)


def test_thirty_thousand_records_are_loaded_in_seconds_and_followed_at_once(store: ZookeeperStore) -> None:
    define(store, range(MACHINES))
    view = ClusterView(store)
    began = time.monotonic()
    view.start()
    assert time.monotonic() - began < LOAD_LIMIT
    snapshot = view.snapshot()
    assert (len(snapshot.vms), len(snapshot.xmls), len(snapshot.vm_names)) == (MACHINES, MACHINES, MACHINES)
    assert all(entry.status is not None for entry in snapshot.vms.values())

    machine = vm(0)
    key = records.vm(machine.uuid)
    changed = Vm(machine.uuid, machine.name, VmState.STOP, "node2")
    store.commit([Update(key.path, key.encode(changed), 0)])
    view.settle()
    assert view.snapshot().vms[machine.uuid].vm == changed


def test_a_view_is_right_again_after_zookeeper_died_and_came_back(
    services: LocalServices, store: ZookeeperStore
) -> None:
    define(store, range(10))
    view = ClusterView(store)
    view.start()
    heard: list[Session] = []
    store.on_session(heard.append)

    services.kill("zookeeper")
    eventually(lambda: store.session is Session.SUSPENDED)
    with pytest.raises(Unavailable):
        view.settle(1)
    assert len(view.snapshot().vms) == 10
    services.start_service("zookeeper")
    services.wait("zookeeper")

    other = ZookeeperStore(ZookeeperConfig(hosts=(services.zookeeper,)))
    define(other, range(10, 20))
    other.close()
    eventually(lambda: store.session is Session.CONNECTED, timeout=60)
    view.settle(10)
    assert len(view.snapshot().vms) == 20
    assert heard[0] is Session.SUSPENDED
    assert heard[-1] is Session.CONNECTED


def test_a_store_that_finds_no_server_says_where_it_looked() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        ZookeeperStore(ZookeeperConfig(hosts=("127.0.0.1:9",)), connect_timeout=1)
