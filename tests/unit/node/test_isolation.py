from __future__ import annotations

import pytest

from pvc_core.config import NodeConfig
from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.hypervisor import FakeHypervisor
from pvc_core.fakes.store import FakeCluster
from pvc_core.model.node import Addresses
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.isolation import Isolation
from tests.records import node as wanted
from tests.unit.node.harness import domain_xml

LIMIT = 12.0


class PutOff:
    def __init__(self) -> None:
        self.count = 0

    def put_off(self) -> None:
        self.count += 1

    def close(self) -> None:
        """Nothing to disarm."""


class World:
    def __init__(self) -> None:
        self.store = FakeCluster().connect()
        state = ClusterState(self.store)
        state.prepare()
        for number in (1, 2):
            node = NodeConfig(f"n{number}", addresses=Addresses(cluster=f"10.0.2.{number}/24"))
            state.put(records.node(node.name), wanted(node.name, addresses=node.addresses))
        view = ClusterView(self.store)
        view.start()
        self.clock = FakeClock()
        self.hypervisor = FakeHypervisor()
        self.hypervisor.start(domain_xml(1, "vm1"))
        self.answering: set[str] = {"10.0.2.2"}
        self.watchdog = PutOff()
        self.isolation = Isolation(
            "n1",
            LIMIT,
            self.store,
            view,
            self.hypervisor,
            self.clock,
            self.answering.__contains__,
            self.watchdog,
        )

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.isolation.look()


@pytest.fixture
def world() -> World:
    return World()


def test_a_connected_node_keeps_its_machines(world: World) -> None:
    world.answering.clear()
    world.pass_time(100)
    assert world.hypervisor.guests
    assert world.watchdog.count == 100


def test_a_node_that_is_alone_stops_its_machines_and_leaves_the_watchdog_to_its_time(world: World) -> None:
    world.store.suspend()
    world.answering.clear()
    world.pass_time(int(LIMIT) - 1)
    assert world.hypervisor.guests
    world.pass_time(1)
    assert not world.hypervisor.guests
    count = world.watchdog.count
    world.pass_time(5)
    assert world.watchdog.count == count


def test_where_others_answer_it_is_zookeeper_that_is_gone_and_machines_run_on(world: World) -> None:
    world.store.suspend()
    world.pass_time(600)
    assert world.hypervisor.guests
    assert world.watchdog.count == 600


def test_its_own_address_is_no_company(world: World) -> None:
    world.store.suspend()
    world.answering.clear()
    world.answering.add("10.0.2.1")
    world.pass_time(int(LIMIT))
    assert not world.hypervisor.guests


def test_company_in_between_begins_the_time_anew(world: World) -> None:
    world.store.suspend()
    world.answering.clear()
    world.pass_time(int(LIMIT) - 1)
    world.store.resume()
    world.pass_time(1)
    world.store.suspend()
    world.pass_time(int(LIMIT) - 1)
    assert world.hypervisor.guests
