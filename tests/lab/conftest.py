"""One laboratory cluster for all tests of this directory, beside whatever else runs on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cluster as plans
from lab import namespaces, network
from lab.cluster import Cluster
from lab.drive import Driver

NAME = "citest"
PVC_LAB = str(Path(sys.executable).with_name("pvc-lab"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)


def pvc_lab(*arguments: str, timeout: float = 300) -> str:
    """Output of a ``pvc-lab`` command for the tests' cluster; fails with all of it when the command does."""
    argv = [PVC_LAB, "--cluster", NAME, *arguments]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A healthy cluster; when the tests are over, nothing of it may be left."""
    os.environ["PVC_CLIENT_DIR"] = str(tmp_path_factory.mktemp("pvc-client"))
    pvc_lab("down")  # what an interrupted run left
    try:
        pvc_lab("up", "--publish", str(free_port()))
        cluster = plans.load(NAME, plans.DEFAULT_STATE)
        assert cluster is not None
        yield cluster
    finally:
        pvc_lab("down")
    assert list(namespaces.processes(cluster)) == []
    assert not [path for path in network.NAMESPACES.glob("*") if NAME in path.name]
    assert NAME not in Path("/proc/mounts").read_text()
    assert not cluster.state.exists()


@pytest.fixture
def user(cluster: Cluster) -> Driver:
    return Driver(cluster)
