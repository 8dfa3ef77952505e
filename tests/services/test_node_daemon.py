"""The node daemon as a process, over a real ZooKeeper; without a libvirtd, which may be away like any other part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.local import LocalServices
from pvc_core import config as configuration
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.model.node import DaemonState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.state.view import ClusterView

Daemon = subprocess.Popen[str]


class World:
    """One ZooKeeper, a view of its cluster, and daemons of node1."""

    def __init__(self, services: LocalServices, directory: Path) -> None:
        self.config_file = directory / "pvc.conf"
        settings = yaml.safe_load(services.config_file.read_text())
        settings["zookeeper"]["session_timeout"] = 3.0
        settings["timing"] = {"keepalive_interval": 0.2}
        settings["fencing"] = {"fence_intervals": 50}  # no shorter than ZooKeeper's session
        settings["libvirt"] = {"uri": f"qemu+unix:///system?socket={directory}/none"}
        self.config_file.write_text(yaml.safe_dump(settings))
        self.store = ZookeeperStore(configuration.load(self.config_file).zookeeper)
        self.store.ensure("/pvc")
        self.view = ClusterView(self.store)
        self.view.start()
        self.daemons: list[Daemon] = []

    def start(self, config_file: Path | None = None) -> Daemon:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "pvc_node"],
            env=os.environ | {"PVC_CONFIG_FILE": str(config_file or self.config_file)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.daemons.append(daemon)
        return daemon

    def runs(self, incarnation: int | None = None) -> bool:
        def seen(now: ClusterSnapshot) -> bool:
            node = now.nodes.get("node1")
            alive = None if node is None else node.alive
            return (
                alive is not None
                and alive.daemon_state is DaemonState.RUN
                and (incarnation is None or alive.incarnation == incarnation)
            )

        return self.view.wait(seen, 20)

    @property
    def node(self) -> NodeEntry:
        return self.view.snapshot().nodes["node1"]

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
            daemon.communicate()
        self.store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with LocalServices(postgresql=False, redis=False) as services:
        world = World(services, tmp_path)
        yield world
        world.close()


def end(daemon: Daemon, number: int = signal.SIGTERM) -> int:
    daemon.send_signal(number)
    return daemon.wait(30)


def test_it_reports_takes_the_primary_and_ends_in_good_order(world: World) -> None:
    daemon = world.start()
    assert world.runs()
    assert world.view.wait(lambda now: now.primary is not None and now.primary.node == "node1", 10)
    assert world.view.wait(lambda now: now.nodes["node1"].stats is not None, 10)
    assert world.node.stats is not None
    assert {result.name for result in world.node.stats.plugins if result.health_delta} >= {"libvirt"}
    assert end(daemon) == 0
    world.view.settle()
    assert world.node.alive is None
    assert world.node.daemon_state is DaemonState.STOP


def test_a_second_one_on_the_node_says_who_is_first(world: World) -> None:
    first = world.start()
    assert world.runs()
    second = world.start()
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert errors == f"pvc-node: the node daemon runs already on this node, as process {first.pid}\n"
    assert world.runs()


def test_one_that_was_killed_is_replaced_without_waiting_for_its_session(world: World) -> None:
    first = world.start()
    assert world.runs(1)
    first.kill()
    first.wait(10)
    world.start()
    assert world.view.wait(lambda now: (alive := now.nodes["node1"].alive) is not None and alive.incarnation == 2, 2.5)
    assert world.runs(2)


def test_a_configuration_that_is_wrong_is_one_clear_line(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.conf"
    wrong.write_text(world.config_file.read_text().replace("keepalive_interval", "keepalive_intervall"))
    daemon = world.start(wrong)
    _, errors = daemon.communicate(timeout=30)
    assert daemon.returncode == 1
    assert errors == f"pvc-node: {wrong}: unknown key timing.keepalive_intervall\n"


def test_it_waits_for_zookeeper_and_ends_when_it_is_asked_to_meanwhile(world: World, tmp_path: Path) -> None:
    settings = yaml.safe_load(world.config_file.read_text())
    settings["zookeeper"]["hosts"] = ["127.0.0.1:9"]
    lonely = tmp_path / "lonely.conf"
    lonely.write_text(yaml.safe_dump(settings))
    daemon = world.start(lonely)
    assert daemon.stderr is not None
    line = next(line for line in daemon.stderr if "trying again" in line)
    assert "ZooKeeper does not answer at 127.0.0.1:9" in line
    assert end(daemon) == 0
