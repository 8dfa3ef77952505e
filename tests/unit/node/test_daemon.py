"""The daemon as a whole, with its threads, over a cluster in memory."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.config import (
    Config,
    DaemonConfig,
    NodeConfig,
    PostgresqlConfig,
    RedisConfig,
    TimingConfig,
    ZookeeperConfig,
)
from pvc_core.drivers.clock import SystemClock
from pvc_core.errors import BadRequest, Conflict
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.fakes.hypervisor import FakeHypervisor
from pvc_core.fakes.network import FakeNetwork
from pvc_core.fakes.power import FakePower
from pvc_core.fakes.store import FakeCluster, FakeStore
from pvc_core.model.node import Addresses, DaemonState, Primary
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import RunState, Vm, VmState
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.daemon import Daemon
from pvc_node.identity import Identity
from pvc_node.nodelog import FORMAT, Ring
from pvc_node.parts import Outside
from tests.records import define
from tests.unit.node.harness import domain_xml, uuid

Seen = Callable[[ClusterSnapshot], bool]


class FakeWatchdog:
    """No configuration here asks for one."""

    def put_off(self) -> None: ...

    def close(self) -> None: ...


class RunningDaemon:
    def __init__(
        self, config: Config, servers: FakeCluster, hypervisor: FakeHypervisor, network: FakeNetwork, ring: Ring
    ) -> None:
        self.store: FakeStore = servers.connect()
        self.stop = threading.Event()
        self.result: bool | None = None
        outside = Outside(
            self.store,
            hypervisor,
            network,
            SystemClock(),
            FakePower(),
            FakeBlocks,
            lambda seconds: FakeWatchdog(),
        )
        self.daemon = Daemon(config, Identity("boot", 1, booted=True), outside, ring, self.stop)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> bool | None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.result

    def _run(self) -> None:
        self.result = self.daemon.run()


class World:
    def __init__(self, directory: Path) -> None:
        self.servers = FakeCluster()
        self.hypervisor = FakeHypervisor()
        self.network = FakeNetwork(("192.0.2.1/24",), SystemClock())
        self.state = ClusterState(self.servers.connect())
        self.state.prepare()
        self.view = ClusterView(self.servers.connect())
        self.view.start()
        self.ring = Ring(100)
        self.ring.setFormatter(logging.Formatter(FORMAT))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        secret = directory / "secret"
        secret.write_text("s3cret\n")
        self.config = Config(
            node=NodeConfig("n1"),
            zookeeper=ZookeeperConfig(("unused:2181",), session_timeout=0.1),
            postgresql=PostgresqlConfig(("unused",)),
            redis=RedisConfig("unused"),
            timing=TimingConfig(keepalive_interval=0.05),
            daemon=DaemonConfig(
                listen_port=self.port,
                cluster_secret_file=str(secret),
                log_directory=str(directory),
                console_directory=str(directory),
                state_directory=str(directory),
            ),
        )
        self.daemons: list[RunningDaemon] = []

    def make(self) -> RunningDaemon:
        daemon = RunningDaemon(self.config, self.servers, self.hypervisor, self.network, self.ring)
        self.daemons.append(daemon)
        return daemon

    def run(self) -> RunningDaemon:
        daemon = self.make()
        daemon.start()
        assert self.sees(lambda now: "n1" in now.nodes and now.nodes["n1"].runs)
        return daemon

    def sees(self, seen: Seen) -> bool:
        return self.view.wait(seen, 10)

    def define(self, number: int) -> str:
        vm = Vm(uuid(number), f"vm{number}", VmState.START, "n1")
        define(self.state, vm, domain_xml(number, vm.name))
        return vm.uuid


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for daemon in world.daemons:
        if daemon.daemon is not None and daemon._thread.is_alive():
            daemon.end()


def runs(vm_uuid: str, run: RunState = RunState.RUNNING) -> Seen:
    return (
        lambda now: (entry := now.vms.get(vm_uuid)) is not None
        and entry.status is not None
        and (entry.status.run is run)
    )


def test_it_starts_machines_at_once_and_restarts_what_was_killed(world: World) -> None:
    world.run()
    vm_uuid = world.define(1)
    assert world.sees(runs(vm_uuid))
    world.hypervisor.crash(vm_uuid)
    assert world.sees(lambda now: (status := now.vms[vm_uuid].status) is not None and status.crashes == 1)
    assert world.sees(runs(vm_uuid))


def test_an_orderly_end_leaves_the_machines_running_and_says_what_it_did(world: World) -> None:
    daemon = world.run()
    vm_uuid = world.define(1)
    assert world.sees(runs(vm_uuid))
    states: list[DaemonState] = []
    watching = ClusterView(world.servers.connect())
    real = watching._on_change

    def note(path: str, raw: object) -> None:
        real(path, raw)  # type: ignore[arg-type]
        state = watching.snapshot().nodes["n1"].daemon_state if "n1" in watching.snapshot().nodes else None
        if state is not None and states[-1:] != [state]:
            states.append(state)

    watching._on_change = note  # type: ignore[method-assign]
    watching.start()
    assert daemon.end() is True
    assert states[states.index(DaemonState.RUN) :] == [DaemonState.RUN, DaemonState.SHUTDOWN, DaemonState.STOP]
    assert vm_uuid in world.hypervisor.guests
    assert world.state.find(records.alive("n1")) is None
    assert world.state.get(records.stats("n1")).value.daemon_state is DaemonState.STOP
    assert threading.active_count() < 10


def test_it_ends_though_there_is_no_connection(world: World) -> None:
    daemon = world.run()
    daemon.store.suspend()
    assert daemon.end() is True


def test_a_lost_session_is_an_ordinary_event(world: World) -> None:
    daemon = world.run()
    vm_uuid = world.define(1)
    assert world.sees(runs(vm_uuid))
    daemon.store.suspend()
    daemon.store.expire()
    assert world.sees(lambda now: now.nodes["n1"].alive is None)
    daemon.store.resume()
    assert world.sees(lambda now: now.nodes["n1"].runs)
    other = world.define(2)
    assert world.sees(runs(other))
    assert world.hypervisor.started == [vm_uuid, other]


def test_a_slow_start_delays_neither_the_keepalive_nor_other_machines(world: World) -> None:
    released, begun = threading.Event(), threading.Event()
    real = world.hypervisor.start

    def start(xml: str) -> object:
        if uuid(1) in xml:
            begun.set()
            assert released.wait(10)
        return real(xml)

    world.hypervisor.start = start  # type: ignore[method-assign, assignment]
    world.run()
    slow = world.define(1)
    assert begun.wait(10)
    last = world.state.get(records.stats("n1")).value.time
    assert world.sees(lambda now: (stats := now.nodes["n1"].stats) is not None and stats.time > last)
    assert world.sees(runs(world.define(2)))
    assert world.sees(runs(slow, RunState.STARTING))
    released.set()
    assert world.sees(runs(slow))


def test_a_second_daemon_of_the_name_does_not_start(world: World) -> None:
    world.run()
    world.config = replace(world.config, daemon=replace(world.config.daemon, listen_port=0))
    second = world.make()
    second.daemon.parts.presence._value = replace(second.daemon.parts.presence._value, boot_id="another machine")
    with pytest.raises(Conflict, match="another daemon of a node named n1 is alive"):
        second.daemon.run()


def test_a_taken_port_is_named(world: World) -> None:
    world.run()
    with pytest.raises(BadRequest, match=r"cannot listen on 127\.0\.0\.1"):
        world.make()


def test_a_defect_in_a_thread_ends_the_daemon_rather_than_half_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = world.make()

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon.daemon.parts.reconciler, "cycle", broken)
    daemon.start()
    daemon._thread.join(20)
    assert daemon.result is False


def test_it_serves_its_log_and_becomes_primary(world: World) -> None:
    logging.getLogger("pvc_node").addHandler(world.ring)
    logging.getLogger("pvc_node").setLevel(logging.INFO)
    try:
        world.run()
        assert world.sees(lambda now: now.primary is not None and now.primary.node == "n1")
        request = urllib.request.Request(f"http://127.0.0.1:{world.port}/log", headers={"X-Pvc-Secret": "s3cret"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            lines = [text for _, text in json.load(answer)["lines"]]
        assert any("daemon: init => run" in line for line in lines)
    finally:
        logging.getLogger("pvc_node").removeHandler(world.ring)


def test_the_primary_takes_the_floating_address_and_gives_it_up_before_it_shows_that_it_stops(world: World) -> None:
    world.config = replace(
        world.config,
        node=NodeConfig("n1", addresses=Addresses(upstream="192.0.2.1/24")),
        floating_addresses=Addresses(upstream="192.0.2.250/24"),
        zookeeper=ZookeeperConfig(("unused:2181",), session_timeout=6.0),
    )
    daemon = world.run()
    assert world.sees(lambda now: now.primary == Primary("n1", 1, ready=True))
    assert world.network.held(["192.0.2.250/24"])
    real, held = daemon.daemon.parts.presence.change, []

    def change(state: DaemonState) -> None:
        held.append(world.network.held(["192.0.2.250/24"]))
        real(state)

    daemon.daemon.parts.presence.change = change  # type: ignore[method-assign]
    daemon.end()
    assert held == [set()]
