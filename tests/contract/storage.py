"""Worlds for storage fencing: hosts with processes that write to images, over the fake and over a real Ceph."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from lab.local import LocalServices
from pvc_core.config import CephConfig
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.ports import BlockStore, Locker
from tests.contract.worlds import eventually

POOL = "vms"
MIB = 1024**2


class Client(Protocol):
    """A process that has an image open, as QEMU has."""

    def write(self) -> bool:
        """Whether a write to the image's begin, with the lock that it needs, was done."""


class StorageWorld(Protocol):
    """``own`` is the address of ``blocks`` itself; on the other hosts, clients can be started."""

    blocks: BlockStore
    own: str
    hosts: tuple[str, str]

    def client(self, image: str, host: str) -> Client: ...

    def clear(self) -> None:
        """End the clients, and let all hosts in again."""

    def close(self) -> None: ...


class FakeClient:
    def __init__(self, blocks: FakeBlocks, image: str, locker: Locker) -> None:
        self._blocks = blocks
        self._image = image
        self._locker = locker

    def write(self) -> bool:
        return self._blocks.write(POOL, self._image, self._locker)


class FakeStorageWorld:
    own = "192.0.2.1"
    hosts = ("192.0.2.2", "192.0.2.3")

    def __init__(self) -> None:
        self._clients = 0
        self.blocks = FakeBlocks(host=self.own)
        self.blocks.create_pool(POOL, 8, 2, 1, "default")

    def client(self, image: str, host: str) -> FakeClient:
        self._clients += 1
        return FakeClient(self.blocks, image, Locker(f"client.{self._clients}", host))

    def clear(self) -> None:
        self.blocks.readmit(self.blocks.shut_out_hosts())

    def close(self) -> None:
        pass


# Answers each line of its input with one of output. What Ceph refuses is "no" and a word on why.
_PROGRAM = """
import sys, rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], name="client.admin", conf={"rados_osd_op_timeout": "20"})
cluster.connect(20)
pool = cluster.open_ioctx("vms")
image = None
for line in sys.stdin:
    try:
        image = image or rbd.Image(pool, sys.argv[2])
        if line.startswith("read"):
            print(image.read(0, 16).rstrip(bytes(1)).decode(), flush=True)
        else:
            image.write(line.split()[1].encode().ljust(16, bytes(1)), 0)
            print("yes", flush=True)
    except (rados.Error, rbd.Error) as error:
        print("no", type(error).__name__, flush=True)
"""


class CephClient:
    """A process in a network namespace of its own host."""

    def __init__(self, config: str, image: str, namespace: str) -> None:
        self.process = subprocess.Popen(
            [*_inside(namespace), sys.executable, "-c", _PROGRAM, config, image],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def write(self, content: str = "x") -> bool:
        return self.ask(f"write {content}") == "yes"

    def read(self) -> str:
        return self.ask("read")

    def ask(self, line: str) -> str:
        self.begin(line)
        return self.answer()

    def begin(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class CephStorageWorld:
    """Ceph on this machine, with one OSD here and the other on the first of two hosts, each of which has a copy of all
    there is. The hosts are network namespaces on a bridge."""

    def __init__(self) -> None:
        number = os.getpid() % 256
        self.own, *hosts = (f"10.254.{number}.{last}" for last in (1, 2, 3))
        self.hosts = (hosts[0], hosts[1])
        self._bridge = f"pvctest{number}"
        self._clients: list[CephClient] = []
        self._osd: subprocess.Popen[bytes] | None = None
        self._left = ExitStack()
        try:
            self._connect_hosts()
            self.services = self._left.enter_context(
                LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True, ceph_address=self.own)
            )
            self.config = str(self.services.ceph_config)
            self._start_osd()
            self.blocks = CephBlockStore(CephConfig(config_file=self.config))
            self._left.callback(self.blocks.close)
            self.blocks.create_pool(POOL, 8, 2, 1, "default")
        except BaseException:
            self._left.close()
            raise

    def client(self, image: str, host: str) -> CephClient:
        client = CephClient(self.config, image, self._namespace(host))
        self._clients.append(client)
        return client

    def clear(self) -> None:
        while self._clients:
            self._clients.pop().close()
        self.blocks.readmit(self.blocks.shut_out_hosts())
        eventually(lambda: self.osd_up_from() > 0, timeout=60)  # which a fence marked down, and which comes back alone

    def pause_osd(self) -> None:
        assert self._osd is not None
        self._osd.send_signal(signal.SIGSTOP)

    def resume_osd(self) -> None:
        assert self._osd is not None
        self._osd.send_signal(signal.SIGCONT)

    def ceph(self, *command: str) -> bytes:
        """What Ceph answers, as JSON."""
        line = ["ceph", "-c", self.config, *command, "--format", "json"]
        return subprocess.run(line, check=True, capture_output=True).stdout

    def osd_up_from(self) -> int:
        """The epoch in which the hosts' OSD came up; 0 while it is down."""
        osds = json.loads(self.ceph("osd", "dump"))["osds"]
        return next(osd["up_from"] if osd["up"] else 0 for osd in osds if osd["osd"] == 1)

    @contextmanager
    def monitor_paused(self) -> Iterator[None]:
        monitor = self.services.pids("ceph-mon")[-1]
        os.kill(monitor, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(monitor, signal.SIGCONT)

    @contextmanager
    def cable_cut(self, host: str) -> Iterator[None]:
        cable = f"{self._bridge}p{self.hosts.index(host)}"
        _ip("link", "set", cable, "down")
        try:
            yield
        finally:
            _ip("link", "set", cable, "up")

    def close(self) -> None:
        with self._left:  # taken down also where a host does not come back
            self.clear()

    def _connect_hosts(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        self._left.callback(_ip, "link", "delete", self._bridge)
        _ip("address", "add", f"{self.own}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for number, host in enumerate(self.hosts):
            inside, cable = self._namespace(host), f"{self._bridge}p{number}"
            _ip("netns", "add", inside)
            self._left.callback(_ip, "netns", "delete", inside)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", inside)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", inside, "link", "set", "lo", "up")
            _ip("-n", inside, "address", "add", f"{host}/24", "dev", "eth0")
            _ip("-n", inside, "link", "set", "eth0", "up")

    def _namespace(self, host: str) -> str:
        return f"{self._bridge}-{self.hosts.index(host)}"

    def _start_osd(self) -> None:
        data, identity = self.services.directory / "osd1", str(uuid.uuid4())
        data.mkdir()
        self.ceph("osd", "new", identity, "1")
        address = ["--public-addr", self.hosts[0], "--cluster-addr", self.hosts[0]]
        # By itself it ends when it was marked down more than five times in ten minutes, and each test does that.
        often = ["--osd-max-markdown-count", "1000"]
        osd = ["ceph-osd", "-c", self.config, "--id", "1", "--osd-data", str(data), *address, *often]
        inside = _inside(self._namespace(self.hosts[0]))
        subprocess.run([*inside, *osd, "--mkfs", "--osd-uuid", identity], check=True, capture_output=True)
        with Path(self.services.directory, "osd1.log").open("wb") as log:
            self._osd = subprocess.Popen([*inside, *osd, "-f"], stdout=log, stderr=log)
        self._left.callback(self._osd.wait)
        self._left.callback(self._osd.kill)


def _inside(namespace: str) -> list[str]:
    """What a command begins with to run there, and to end with this process."""
    return ["setpriv", "--pdeathsig=KILL", "ip", "netns", "exec", namespace]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
