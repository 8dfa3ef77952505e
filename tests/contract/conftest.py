"""The worlds of the contract suites as fixtures; those with real services are marked so."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.local import LocalServices
from pvc_core.config import CephConfig
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.ports import BlockStore
from tests.contract.hypervisors import FakeHypervisorWorld, HypervisorWorld, LibvirtWorld
from tests.contract.powers import SECRET, Program
from tests.contract.worlds import FakeStoreWorld, StoreWorld, ZookeeperWorld

REAL = pytest.mark.services


@pytest.fixture(scope="session")
def zookeeper() -> Iterator[str]:
    with LocalServices(postgresql=False, redis=False) as services:
        yield services.zookeeper


@pytest.fixture(params=["fake", pytest.param("zookeeper", marks=REAL)])
def stores(request: pytest.FixtureRequest) -> Iterator[StoreWorld]:
    world = FakeStoreWorld() if request.param == "fake" else ZookeeperWorld(request.getfixturevalue("zookeeper"))
    yield world
    world.close()


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephConfig]:
    with LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True) as services:
        yield CephConfig(config_file=str(services.ceph_config))


@pytest.fixture(scope="module", params=["fake", pytest.param("ceph", marks=REAL)])
def blocks(request: pytest.FixtureRequest) -> Iterator[BlockStore]:
    if request.param == "fake":
        yield FakeBlocks()
        return
    blocks = CephBlockStore(request.getfixturevalue("ceph"))
    yield blocks
    for pool in blocks.pools():
        blocks.remove_pool(pool)
    blocks.close()


@pytest.fixture(scope="module")
def image_names(request: pytest.FixtureRequest, blocks: BlockStore) -> Callable[[str], list[str]]:
    """The names that the images of a pool have."""
    if isinstance(blocks, FakeBlocks):
        return blocks.volumes
    command = ["rbd", "--conf", request.getfixturevalue("ceph").config_file, "ls", "--format", "json"]
    return lambda pool: sorted(json.loads(subprocess.run([*command, pool], check=True, capture_output=True).stdout))


@pytest.fixture(scope="module", params=["fake", pytest.param("libvirt", marks=REAL)])
def nodes(request: pytest.FixtureRequest) -> Iterator[HypervisorWorld]:
    world = FakeHypervisorWorld() if request.param == "fake" else LibvirtWorld()
    yield world
    world.close()


@pytest.fixture
def hypervisors(nodes: HypervisorWorld) -> Iterator[HypervisorWorld]:
    """Two nodes on which nothing runs."""
    yield nodes
    nodes.clear()


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """A file with the password of all BMCs."""
    path = tmp_path / "bmc.secret"
    path.touch(mode=0o600)
    path.write_text(f"default: {SECRET}\n")
    return path


@pytest.fixture
def ipmitool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Program(tmp_path / "ipmitool")


@pytest.fixture
def curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Program(tmp_path / "curl")
