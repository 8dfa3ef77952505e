"""Worlds for OSDs: a node with two empty disks, over the fake and over a real Ceph with loop devices."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from lab.local import LocalServices
from pvc_core.config import CephConfig, OsdConfig
from pvc_core.drivers.ceph_osds import CephOsdMap
from pvc_core.drivers.osds_partitions import PartitionOsds
from pvc_core.fakes.osds import FakeOsdMap, FakeOsds
from pvc_core.model.storage import Device
from pvc_core.ports import OsdMap, Osds

GIB = 1 << 30
TIMEOUT = 60.0  # seconds for a daemon to come up or go down


class OsdWorld(Protocol):
    """``disks`` are empty; ``first`` is an OSD that is there already, and not on this node's disks."""

    osds: Osds
    map: OsdMap
    disks: tuple[str, str]
    first: int

    def close(self) -> None: ...


class FakeOsdWorld:
    disks = ("/dev/sdb", "/dev/sdc")

    def __init__(self) -> None:
        self.map = FakeOsdMap()
        self.osds = FakeOsds("n1", [Device(path, 8 * GIB) for path in self.disks], self.map)
        self.first = self.map.add("elsewhere")

    def close(self) -> None:
        pass


class CephOsdWorld:
    """The daemons end with the world, even when a test leaves them running."""

    first = 0

    def __init__(self) -> None:
        self._left = ExitStack()
        try:
            services = self._left.enter_context(
                LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True)
            )
            data = services.directory / "osds"
            data.mkdir()
            self._left.callback(_stop_all, data)
            self.disks = (self._disk(services.directory, 1), self._disk(services.directory, 2))
            self.config = CephConfig(
                config_file=str(services.ceph_config),
                osd=OsdConfig(
                    method="partitions",
                    directory=str(data),
                    user="",
                    start=("sh", "-c", _START.format(data=data, conf=services.ceph_config)),
                    stop=("sh", "-c", _STOP.format(data=data)),
                    loop_files=str(services.directory),
                ),
            )
            self.osds = PartitionOsds("n1", self.config)
            self.map = CephOsdMap(self.config)
        except BaseException:
            self._left.close()
            raise

    def close(self) -> None:
        self._left.close()

    def _disk(self, directory: Path, number: int) -> str:
        file = directory / f"disk{number}.img"
        with file.open("wb") as image:
            image.truncate(8 * GIB)
        device = _run("losetup", "--find", "--show", str(file)).strip()
        self._left.callback(subprocess.run, ["losetup", "--detach", device], check=False)
        self._left.callback(subprocess.run, ["partx", "--delete", device], check=False, capture_output=True)
        return device


# The real way is systemd's, which a test has not. {{id}} is for the driver to fill in.
_START = (
    "setsid ceph-osd -c {conf} --id {{id}} --osd-data {data}/ceph-{{id}} -f >{data}/{{id}}.log 2>&1 &"
    " echo $! >{data}/{{id}}.pid"
)
_STOP = (
    "cd {data}; [ -e {{id}}.pid ] || exit 0; kill $(cat {{id}}.pid);"
    " while kill -0 $(cat {{id}}.pid) 2>/dev/null; do sleep 0.1; done; rm {{id}}.pid"
)


def _stop_all(data: Path) -> None:
    for file in data.glob("*.pid"):
        subprocess.run(["kill", "-9", file.read_text().strip()], check=False, capture_output=True)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_up(osd_map: OsdMap, osd: int, *, up: bool) -> None:
    deadline = time.monotonic() + TIMEOUT
    while osd_map.stats()[osd].up != up:
        assert time.monotonic() < deadline, f"OSD {osd} is {'down' if up else 'up'}"
        time.sleep(0.2)


@contextmanager
def removed_afterwards(world: OsdWorld) -> Iterator[None]:
    """Take away every OSD of the node at the end."""
    try:
        yield
    finally:
        for osd in world.osds.present():
            world.osds.stop(osd.id)
            if osd.id in world.map.stats():
                wait_up(world.map, osd.id, up=False)
                world.map.purge(osd.id)
            world.osds.zap(osd.id)
