"""The sign of life: one a node, exactly as long as its daemon's session."""

from __future__ import annotations

import threading

import pytest

from pvc_core.config import NodeConfig
from pvc_core.errors import Conflict, Unavailable
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.model.node import Addresses, Alive, DaemonState, DomainState, Node, NodeRole
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.identity import Identity
from pvc_node.presence import Presence

CONFIG = NodeConfig("n1", addresses=Addresses(cluster="10.0.0.1/24"))


@pytest.fixture
def servers() -> FakeCluster:
    cluster = FakeCluster()
    ClusterState(cluster.connect()).prepare()
    return cluster


def presence(store: FakeStore, boot: str = "boot", incarnation: int = 1, config: NodeConfig = CONFIG) -> Presence:
    return Presence(ClusterState(store), config, Identity(boot, incarnation, booted=True))


def shown(servers: FakeCluster) -> Alive | None:
    entry = ClusterState(servers.connect()).find(records.alive("n1"))
    return None if entry is None else entry.value


def started(store: FakeStore, **fields: object) -> Presence:
    made = presence(store, **fields)  # type: ignore[arg-type]
    made.register()
    made.keep()
    return made


def test_a_new_node_registers_itself_ready(servers: FakeCluster) -> None:
    presence(servers.connect()).register()
    node = ClusterState(servers.connect()).get(records.node("n1")).value
    assert node == Node("n1", NodeRole.COORDINATOR, CONFIG.addresses, DomainState.READY, boot_id="boot")


def test_a_known_node_brings_its_addresses_up_to_date_and_keeps_its_domain_state(servers: FakeCluster) -> None:
    state = ClusterState(servers.connect())
    state.put(records.node("n1"), Node("n1", NodeRole.HYPERVISOR, Addresses(), DomainState.FLUSHED))
    presence(servers.connect()).register()
    assert state.get(records.node("n1")).value == Node(
        "n1", NodeRole.COORDINATOR, CONFIG.addresses, DomainState.FLUSHED, boot_id="boot"
    )
    commits = servers.commits
    presence(servers.connect()).register()
    assert servers.commits == commits


def test_the_sign_of_life_tells_state_boot_and_start_and_ends_with_the_session(servers: FakeCluster) -> None:
    store = servers.connect()
    made = started(store, incarnation=5)
    made.change(DaemonState.RUN)
    alive = shown(servers)
    assert alive is not None
    assert (alive.boot_id, alive.incarnation, alive.daemon_state) == ("boot", 5, DaemonState.RUN)
    store.close()
    assert shown(servers) is None


def test_keeping_what_is_there_costs_no_write(servers: FakeCluster) -> None:
    made = started(servers.connect())
    commits = servers.commits
    for _ in range(5):
        made.keep()
    assert servers.commits == commits


def test_a_new_session_makes_a_new_sign_of_life(servers: FakeCluster) -> None:
    store = servers.connect()
    made = started(store)
    made.change(DaemonState.RUN)
    store.expire()
    assert shown(servers) is None
    made.keep()
    alive = shown(servers)
    assert alive is not None
    assert alive.daemon_state is DaemonState.RUN
    made.change(DaemonState.SHUTDOWN)
    made.vanish()
    assert shown(servers) is None


def test_without_a_connection_the_next_keep_shows_the_state(servers: FakeCluster) -> None:
    store = servers.connect()
    made = started(store)
    store.suspend()
    with pytest.raises(Unavailable):
        made.change(DaemonState.RUN)
    store.resume()
    made.keep()
    alive = shown(servers)
    assert alive is not None
    assert alive.daemon_state is DaemonState.RUN


@pytest.mark.parametrize("step", ["make", "change"])
def test_a_lost_answer_does_not_lose_the_sign_of_life(servers: FakeCluster, step: str) -> None:
    store = servers.connect()
    made = presence(store)
    made.register()
    if step == "change":
        made.keep()
    store.lose_answer()
    with pytest.raises(Unavailable):
        made.change(DaemonState.RUN)
    made.keep()
    alive = shown(servers)
    assert alive is not None
    assert alive.daemon_state is DaemonState.RUN
    store.close()
    assert shown(servers) is None


def test_a_predecessor_of_the_same_boot_is_replaced_at_once(servers: FakeCluster) -> None:
    """It is dead: the lock on the state directory says so, though its session has not ended yet."""
    started(servers.connect(), incarnation=1)
    store = servers.connect()
    view = ClusterView(store)
    view.start()
    presence(store, incarnation=2).appear(view, 0.0)
    alive = shown(servers)
    assert alive is not None
    assert alive.incarnation == 2


def test_another_machine_under_the_same_name_is_an_error_that_says_so(servers: FakeCluster) -> None:
    started(servers.connect(), boot="other")
    store = servers.connect()
    view = ClusterView(store)
    view.start()
    with pytest.raises(Conflict, match="another daemon of a node named n1 is alive"):
        presence(store).appear(view, 0.0)
    alive = shown(servers)
    assert alive is not None
    assert alive.boot_id == "other"


def test_the_sign_of_life_of_the_last_boot_is_waited_for(servers: FakeCluster) -> None:
    old = servers.connect()
    started(old, boot="last")
    store = servers.connect()
    view = ClusterView(store)
    view.start()
    timer = threading.Timer(0.05, old.close)
    timer.start()
    presence(store).appear(view, 10.0)
    timer.join()
    alive = shown(servers)
    assert alive is not None
    assert alive.boot_id == "boot"
