"""One write an interval tells all of a node."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pvc_core.config import NodeConfig
from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.hypervisor import FakeHypervisor
from pvc_core.fakes.network import FakeNetwork
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.model.node import DaemonState, NodeStats
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_node import stats
from pvc_node.identity import Identity
from pvc_node.keepalive import Keepalive, Troubles
from pvc_node.plugins import checks
from pvc_node.presence import Presence
from pvc_node.sampler import Sampler

UUID = "11111111-1111-1111-1111-111111111111"
XML = f"""<domain><name>web</name><uuid>{UUID}</uuid><devices>
    <disk><target dev="vda"/></disk><interface><mac address="52:54:00:00:00:01"/></interface></devices></domain>"""


@dataclass
class Node:
    servers: FakeCluster
    store: FakeStore
    clock: FakeClock
    hypervisor: FakeHypervisor
    network: FakeNetwork
    sampler: Sampler
    presence: Presence
    keepalive: Keepalive

    def shown(self) -> NodeStats:
        return ClusterState(self.servers.connect()).get(records.stats("n1")).value

    def deltas(self) -> dict[str, int]:
        return {plugin.name: plugin.health_delta for plugin in self.shown().plugins if plugin.health_delta}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    servers, clock = FakeCluster(), FakeClock()
    store = servers.connect()
    state = ClusterState(store)
    state.prepare()
    hypervisor, network = FakeHypervisor(), FakeNetwork()
    sampler = Sampler(hypervisor, network, clock, 2.0)
    presence = Presence(state, NodeConfig("n1"), Identity("boot", 1, booted=False))
    presence.register()
    troubles = Troubles(network=lambda: "", storage=lambda: "")
    keepalive = Keepalive("n1", state, presence, sampler, clock, troubles, (str(tmp_path),))
    presence.keep()
    presence.change(DaemonState.RUN)
    return Node(servers, store, clock, hypervisor, network, sampler, presence, keepalive)


def test_an_interval_costs_one_write(node: Node) -> None:
    node.keepalive.beat()
    commits = node.servers.commits
    for _ in range(10):
        node.sampler.sample()
        node.keepalive.beat()
    assert node.servers.commits == commits + 10


def test_the_statistics_hold_the_node_and_its_machines(node: Node) -> None:
    node.hypervisor.start(XML)
    node.sampler.sample()
    node.keepalive.beat()
    shown = node.shown()
    assert shown.time == node.clock.now()
    assert shown.daemon_state is DaemonState.RUN
    assert shown.memory.total == shown.memory.used + shown.memory.free > 0
    assert shown.cpu_count > 0
    assert 0 <= shown.cpu_utilization <= 100
    assert shown.interfaces.keys() == {"eth0"}
    assert shown.domains[UUID].disks.keys() == {"vda"}
    assert shown.domains[UUID].networks.keys() == {"52:54:00:00:00:01"}
    assert {plugin.name for plugin in shown.plugins} == set(checks.PLUGINS)


def test_loss_of_libvirt_costs_health_and_keeps_the_counters(node: Node) -> None:
    node.hypervisor.start(XML)
    node.sampler.sample()
    node.hypervisor.unavailable = True
    node.sampler.sample()
    node.keepalive.beat()
    assert node.deltas()["libvirt"] == 50
    assert UUID in node.shown().domains
    node.hypervisor.unavailable = False
    node.sampler.sample()
    node.keepalive.beat()
    assert "libvirt" not in node.deltas()


def test_a_libvirt_that_hangs_is_noticed(node: Node) -> None:
    node.sampler.sample()
    node.clock.advance(11)
    node.keepalive.beat()
    assert node.deltas()["libvirt"] == 50
    assert "libvirt has not answered for 11 s" in [plugin.message for plugin in node.shown().plugins]


def test_without_a_connection_nothing_is_tried_and_it_is_said_once(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.keepalive.beat()
    node.store.suspend()
    for _ in range(5):
        node.keepalive.beat()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "keepalive: well => failing: there is no connection to ZooKeeper"
    ]
    node.store.expire()
    node.store.resume()
    node.keepalive.beat()
    alive = ClusterState(node.servers.connect()).get(records.alive("n1")).value
    assert alive.daemon_state is DaemonState.RUN


def test_the_farewell_says_that_it_stopped(node: Node) -> None:
    node.keepalive.beat()
    node.keepalive.farewell()
    assert node.shown().daemon_state is DaemonState.STOP


def test_interfaces_are_read_less_often_than_machines(node: Node) -> None:
    reads = []
    real = node.network.interfaces
    node.network.interfaces = lambda: reads.append(1) or real()  # type: ignore[method-assign, func-returns-value]
    for _ in range(10):
        node.sampler.sample()
        node.clock.advance(2)
    assert len(reads) == 2


def test_interfaces_tell_how_fast_their_counters_rise(node: Node) -> None:
    node.sampler.sample()
    assert node.sampler.interfaces["eth0"] == node.network.card
    node.clock.advance(10)
    node.network.card = replace(node.network.card, rx_bytes=6000, tx_packets=45)
    node.sampler.sample()
    card = node.sampler.interfaces["eth0"]
    assert (card.rx_byte_rate, card.rx_packet_rate, card.tx_byte_rate, card.tx_packet_rate) == (500.0, 0.0, 0.0, 2.5)
    node.clock.advance(10)
    node.network.card = replace(card, rx_bytes=0)
    node.sampler.sample()
    assert node.sampler.interfaces["eth0"].rx_byte_rate == 0.0


WELL = checks.Health(1.0, 4, (), "", "", "", 0.01)


def test_a_well_node_loses_no_health(tmp_path: Path) -> None:
    results = checks.run(checks.Health(1.0, 4, (str(tmp_path),), "", "", "", 0.01), 5.7)
    assert {result.last_run for result in results} == {5}
    assert all(result.message for result in results)
    assert [result for result in results if result.health_delta and result.name != "disk"] == []


@pytest.mark.parametrize(
    ("plugin", "health", "delta", "words"),
    [
        ("load", {"load": 8.0}, 0, "load average 8.00 on 4 CPUs"),
        ("load", {"load": 8.1}, 10, "load average 8.10 on 4 CPUs, above 8"),
        ("libvirt", {"libvirt": "libvirt does not answer"}, 50, "libvirt does not answer"),
        ("network", {"network": "no link bond0"}, 50, "no link bond0"),
        ("storage", {"storage": "Ceph does not answer"}, 50, "Ceph does not answer"),
        ("zookeeper", {"write_seconds": 1.5}, 10, "the last write took 1500 ms"),
        ("disk", {"directories": ("/nowhere",)}, 10, "the plugin itself failed"),
    ],
)
def test_what_is_wrong_costs_health(plugin: str, health: dict[str, object], delta: int, words: str) -> None:
    result = {found.name: found for found in checks.run(replace(WELL, **health), 0)}[plugin]  # type: ignore[arg-type]
    assert result.health_delta == delta
    assert words in result.message


@pytest.mark.parametrize(("used", "delta"), [(0.5, 0), (0.9, 10), (0.96, 50)])
def test_a_file_system_that_fills_up_costs_health(monkeypatch: pytest.MonkeyPatch, used: float, delta: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=1000, f_bavail=round(1000 * (1 - used))))
    result = checks.PLUGINS["disk"](checks.Health(1.0, 4, ("/var/lib/pvc",), "", "", "", 0.0))
    assert result.delta == delta


def test_memory_and_load_are_read_as_the_kernel_means_them(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemFree: 1024 kB\nMemAvailable: 2097152 kB\n")
    (tmp_path / "loadavg").write_text("0.50 1.25 2.00 1/100 4242\n")
    memory = stats.memory(tmp_path)
    assert (memory.total, memory.used, memory.free) == (8192, 6144, 2048)
    assert stats.load_average(tmp_path) == 1.25


def test_cpu_utilisation_counts_what_was_busy_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu 100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n")
    meter = stats.CpuMeter(tmp_path)
    assert meter.percent() == 0.0
    stat.write_text("cpu 125 0 125 850 200 0 0 0 60 0\n")
    assert meter.percent() == pytest.approx(100 * 50 / 300, abs=0.01)
