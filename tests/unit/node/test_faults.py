"""The primary, and nobody else, keeps the faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.model.fault import Fault, FaultStatus
from pvc_core.model.node import (
    Alive,
    DaemonState,
    PluginResult,
    Primary,
)
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.faults import FaultKeeper
from pvc_node.leadership import Leadership
from tests.records import ALIVE, node, node_stats

STATS = node_stats()
FULL = PluginResult("disk", 0, 10, "the file system of / is 91% full")


@dataclass
class World:
    """Two nodes that run, with a keeper on each; n1 is primary."""

    servers: FakeCluster = field(default_factory=FakeCluster)
    clock: FakeClock = field(default_factory=FakeClock)
    mute: dict[str, str] = field(default_factory=dict)
    during: Callable[[], None] = lambda: None  # what happens in the middle of a look

    def __post_init__(self) -> None:
        self.store = self.servers.connect()
        self.state = ClusterState(self.store)
        self.state.prepare()
        for name in ("n1", "n2"):
            self.state.put(records.node(name), node(name))
            self.state.put(records.alive(name), ALIVE)
            self.state.put(records.stats(name), STATS)
        self.state.put(records.PRIMARY, Primary("n1", 1))
        self.stores: dict[str, FakeStore] = {}
        self.keepers = {name: self._keeper(name) for name in ("n1", "n2")}

    def _keeper(self, name: str) -> FaultKeeper:
        store = self.stores[name] = self.servers.connect()
        state, view = ClusterState(store), ClusterView(store, with_xml=False, with_stats=False)
        view.start()
        return FaultKeeper(state, view, Leadership(name, state), self.clock, self._bmcs)

    def _bmcs(self) -> dict[str, str]:
        self.during()
        return self.mute

    def keep(self, seconds: float = 12.0) -> None:
        """Let both look every two seconds, for so long."""
        for _ in range(int(seconds / 2)):
            self.clock.advance(2)
            for keeper in self.keepers.values():
                keeper.keep()

    def end_daemon(self, name: str) -> None:
        self.state.transaction().delete(self.state.get(records.alive(name))).commit()

    @property
    def faults(self) -> dict[str, Fault]:
        entries = (self.state.get(records.fault(key)).value for key in self.store.children(records.FAULTS))
        return {fault.name: fault for fault in entries}


@pytest.fixture
def world() -> World:
    return World()


def test_a_node_that_is_down_is_a_fault_until_it_is_back(world: World) -> None:
    world.keep()
    assert world.faults == {}
    down_at = world.clock.now() + 2
    world.end_daemon("n2")
    world.keep()
    fault = world.faults["node-down:n2"]
    assert (fault.first_reported, fault.last_reported, fault.over) == (down_at, down_at + 10, False)
    world.keep(20)
    world.state.put(records.alive("n2"), Alive("boot", 2, DaemonState.RUN, 2))
    world.keep()
    fault = world.faults["node-down:n2"]
    assert (fault.first_reported, fault.last_reported, fault.over) == (down_at, down_at + 30, True)


def test_what_the_plugins_of_any_node_find_is_a_fault(world: World) -> None:
    world.state.put(records.stats("n2"), replace(STATS, plugins=(FULL,)))
    world.keep(24)
    assert world.faults["plugin:n2:disk"].message == "n2: plugin 'disk': the file system of / is 91% full"


def test_a_bmc_that_does_not_answer_is_a_fault(world: World) -> None:
    world.mute["n2"] = "no route to host"
    world.keep()
    assert "no route to host" in world.faults["bmc:n2"].message


def test_looks_that_change_nothing_write_nothing(world: World) -> None:
    world.end_daemon("n2")
    world.keep()
    commits = world.servers.commits
    world.keep(58)
    assert world.servers.commits == commits
    world.keep(4)
    assert world.servers.commits == commits + 1


def test_another_primary_goes_on_with_the_same_records(world: World) -> None:
    world.end_daemon("n2")
    world.keep()
    first = world.faults["node-down:n2"].first_reported
    world.state.put(records.PRIMARY, Primary("n2", 2))
    world.keep(62)
    fault = world.faults["node-down:n2"]
    assert (fault.first_reported, fault.over) == (first, False)
    assert fault.last_reported > first + 60


def test_a_primary_that_is_replaced_while_it_looks_writes_nothing(world: World) -> None:
    world.end_daemon("n2")
    world.keep(10)
    del world.keepers["n2"]
    world.during = lambda: world.state.put(records.PRIMARY, Primary("n2", 2))
    world.keep()
    assert world.faults == {}


def test_an_acknowledgement_made_while_it_looks_is_kept(world: World) -> None:
    world.end_daemon("n2")
    world.keep()
    fault = world.faults["node-down:n2"]
    acknowledged = replace(fault, status=FaultStatus.ACK, acknowledged_at=world.clock.now())
    world.clock.advance(60)  # the fault is to be renewed by the look that follows
    world.during = lambda: world.state.put(records.fault(fault.id), acknowledged)
    world.keep(2)
    assert world.faults["node-down:n2"] == acknowledged
    world.during = lambda: None
    world.keep(2)
    assert world.faults["node-down:n2"] == replace(acknowledged, last_reported=world.clock.now())


def test_without_a_connection_it_waits_and_goes_on(world: World) -> None:
    world.stores["n1"].suspend()
    world.end_daemon("n2")
    world.keep()
    assert world.faults == {}
    world.stores["n1"].resume()
    world.keep(14)
    assert "node-down:n2" in world.faults
