"""The laboratory's clusters that tests of this directory share, beside whatever else runs on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import cluster as plans
from lab import link, namespaces, network
from lab.cluster import Cluster
from lab.drive import Driver
from lab.writer import define
from tests.lab.sites import AHEAD, EAST, POOL, WEST, Sites, brought_up_to_date, introduce
from tests.lab.sites import NAME as TRAVELLER

PVC_LAB = str(Path(sys.executable).with_name("pvc-lab"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
        if "sites" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(600))  # the first of them waits for two clusters


def pvc_lab(*arguments: str, name: str = EAST, timeout: float = 300) -> str:
    """Output of a ``pvc-lab`` command for a cluster; fails with all of it when the command does."""
    argv = [PVC_LAB, "--cluster", name, *arguments]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def standing(name: str, client_directory: Path, *options: str) -> Iterator[Cluster]:
    """A healthy cluster, made with ``options``; afterwards, nothing of it may be left. As long as it stands, ``pvc``
    keeps its connections in ``client_directory``."""
    before = os.environ.get("PVC_CLIENT_DIR")
    os.environ["PVC_CLIENT_DIR"] = str(client_directory)
    pvc_lab("down", name=name)  # what an interrupted run left
    try:
        pvc_lab("up", "--publish", str(free_port()), *options, name=name)
        cluster = plans.load(name, plans.DEFAULT_STATE)
        assert cluster is not None
        yield cluster
    finally:
        pvc_lab("down", name=name)
        if before is not None:  # another cluster stands still
            os.environ["PVC_CLIENT_DIR"] = before
    assert list(namespaces.processes(cluster)) == []
    assert not [path for path in network.NAMESPACES.glob("*") if path.name.startswith(f"pvclab-{name}-")]
    assert name not in Path("/proc/mounts").read_text()
    assert not cluster.state.exists()


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with standing(EAST, tmp_path_factory.mktemp("pvc-client")) as cluster:
        yield cluster


@pytest.fixture
def user(cluster: Cluster) -> Driver:
    return Driver(cluster)


@pytest.fixture(scope="package")
def sites(cluster: Cluster) -> Iterator[Sites]:
    """The shared cluster, a second one whose clocks are wrong, and the line between them."""
    with standing(WEST, Path(os.environ["PVC_CLIENT_DIR"]), "--clock", f"+{AHEAD}s") as other:
        east, west = Driver(cluster), Driver(other)
        line = link.between(cluster, other)
        line.up()
        try:
            introduce(east, "west", other)
            introduce(west, "east", cluster)
            for site in (east, west):
                site.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
            yield Sites(east, west, line)
        finally:
            line.down()


@pytest.fixture(scope="package")
def traveller(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine that runs in the east and writes its pattern, with a mirror in the west. Tests pass it on, and leave
    it led by the east. It goes with the sites."""
    define(sites.east, tmp_path_factory.mktemp("traveller"), f"{POOL}/{TRAVELLER}")
    brought_up_to_date(sites.east, sites.west)
    return TRAVELLER
