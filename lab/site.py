"""A whole cluster but for its nodes' daemons: its stores with Ceph, its web server and its workers, on this machine."""

from __future__ import annotations

import os
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
import yaml

from lab.errors import LabError
from lab.local import ADDRESS, LocalServices
from lab.namespaces import CHECKOUT
from pvc_core.config import load
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.model.domain import parse
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import Addresses, Alive, DaemonState, Node, NodeMemory, NodeRole, NodeStats
from pvc_core.model.storage import Pool
from pvc_core.model.vm import Vm, VmState
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.records import Name

POOL = "vms"
VNI = 100
_ISSUE = """
from pathlib import Path
from pvc_web.accounts.models import Token, User
Path("{path}").write_text(str(Token.objects.issue(User.objects.get(), "{name}")[1]))
"""
_REVOKE = """
from pvc_web.accounts.models import Token
Token.objects.get(name="{name}").revoke()
"""


class Site:
    """``token_file`` holds the key of its administrator. ``close`` ends all of it."""

    def __init__(self, directory: Path, *, tls: bool = True, memory_gib: int = 2) -> None:
        directory.mkdir()
        self.directory = directory
        self.token_file = directory / "token"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.services = LocalServices(ceph=True, heap_mib=128, memory_gib=memory_gib)
        try:
            config = yaml.safe_load(self.services.config_file.read_text())
            config["zookeeper"]["session_timeout"] = 3.0
            config["worker"] = {"heartbeat_interval": 0.5, "heartbeat_limit": 3.0}
            if tls:
                self.certificate = _certificate(directory)
                config["api"] |= {"tls_certificate": self.certificate, "tls_key": str(directory / "key.pem")}
            self.listen = config["api"]["listen"]
            self.uri = f"{'https' if tls else 'http'}://{self.listen}/api/v1"
            self.services.config_file.write_text(yaml.safe_dump(config))
            self.services.start()
            self._run("manage.py", "migrate", "--no-input", "--verbosity", "0")
            secret = ["--password-file", str(directory / "password"), "--token-file", str(self.token_file)]
            self._run("manage.py", "create_admin", *secret)
            self.config = load(self.services.config_file)
            self.blocks = CephBlockStore(self.config.ceph)
            self.state = ClusterState(ZookeeperStore(self.config.zookeeper, 10.0))
            self._populate()
            for name in ("web", "control", "bulk"):
                self.start(name)
            self._wait_answering()
        except BaseException:
            self.close()
            raise

    def start(self, name: str) -> None:
        command = ["-m", "pvc_tasks.worker", name]
        if name == "web":
            command = ["-m", "gunicorn", "-c", "python:pvc_web.config.gunicorn", "pvc_web.config.wsgi"]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", sys.executable, *command],
                env=self.environment(),
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (*map(int, children), process.pid):
            os.kill(pid, 9)
        process.wait()

    def pids(self, name: str) -> list[int]:
        pid = self._processes[name].pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        url, headers = f"{self.uri}/{path}", {"X-Api-Key": self.token}
        return requests.request(method, url, headers=headers, verify=self.verify, timeout=90, **options)

    @property
    def verify(self) -> str | bool:
        return getattr(self, "certificate", True)

    def get(self, path: str) -> Any:
        """The answer as a document; None without one."""
        try:
            answer = self.ask("GET", path)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def do(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask for work and wait for its end; the task."""
        answer = self.ask(method, path, **options)
        if not answer.ok:
            raise LabError(f"{method} {path}: {answer.text}")
        return self.wait(answer.json()["task_id"])

    def wait(self, task: str, timeout: float = 240.0) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(f"tasks/{task}?wait=5")
            if found is not None and found["ended"]:
                return dict(found)
            if time.monotonic() > deadline:
                raise LabError(f"task {found} goes on")

    def define(self, uuid: str, name: str, sizes: tuple[int, ...]) -> None:
        """A stopped machine with disks of these sizes."""
        volumes = []
        for number, size in enumerate(sizes):
            volume = self.blocks.create(POOL, f"{name}_disk{number}", size)
            self.state.put(records.volume(POOL, volume.name), volume)
            volumes.append(volume.full_name)
        domain = _domain(uuid, name, volumes)
        transaction = self.state.transaction()
        transaction.create(records.vm_name(name), Name(uuid))
        transaction.create(records.vm(uuid), Vm(uuid, name, VmState.STOP, "node1", size=parse(domain).size))
        transaction.create(records.vm_xml(uuid), domain)
        transaction.commit()

    def issue(self, name: str) -> str:
        """A further API key of the administrator."""
        self._run("manage.py", "shell", "-c", _ISSUE.format(name=name, path=self.directory / name))
        return (self.directory / name).read_text()

    def revoke(self, name: str) -> None:
        self._run("manage.py", "shell", "-c", _REVOKE.format(name=name))

    def close(self) -> None:
        for name in list(self._processes):
            self.kill(name)
        if hasattr(self, "state"):
            self.state.store.close()
        if hasattr(self, "blocks"):
            self.blocks.close()
        self.services.stop()

    def _wait_answering(self, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while self.get("vm") is None:
            if time.monotonic() > deadline:
                raise LabError(f"the API does not answer within {timeout:g} s: {self.log('web')[-1000:]}")
            time.sleep(0.05)

    def _populate(self) -> None:
        self.state.prepare()
        memory = NodeMemory(total=16000, used=1000, free=15000)
        stats = NodeStats(
            time=0.0, daemon_state=DaemonState.RUN, version="2", arch="x86_64", os="Debian", kernel="6", cpu_count=8,
            load=1.0, cpu_utilization=1.0, memory=memory,
        )  # fmt: skip
        node = Node("node1", NodeRole.COORDINATOR, Addresses(cluster=f"{ADDRESS}/8"))
        transaction = self.state.transaction()
        transaction.create(records.node("node1"), node)
        transaction.create(records.alive("node1"), Alive("boot", 1, DaemonState.RUN, 1))
        transaction.create(records.stats("node1"), stats)
        transaction.create(records.network(VNI), Network(VNI, "office", NetworkType.BRIDGED))
        transaction.create(records.pool(POOL), Pool(POOL, 8))
        transaction.commit()
        self.state.store.ensure(f"{records.VOLUMES}/{POOL}")
        self.blocks.create_pool(POOL, 8, 1, 1, "default")
        self.state.put(records.STORAGE, self.blocks.status(time.time()))

    def _run(self, *command: str) -> None:
        subprocess.run([sys.executable, *command], env=self.environment(), cwd=CHECKOUT, check=True)

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": str(CHECKOUT),
            "PVC_CONFIG_FILE": str(self.services.config_file),
            "DJANGO_SETTINGS_MODULE": "pvc_web.config.settings",
        }


def _domain(uuid: str, name: str, volumes: list[str]) -> str:
    disks = "".join(
        f"<disk type='network' device='disk'><source protocol='rbd' name='{volume}'/>"
        f"<target dev='sd{letter}' bus='scsi'/></disk>"
        for volume, letter in zip(volumes, string.ascii_lowercase, strict=False)
    )
    card = (
        f"<interface type='bridge'><mac address='52:54:00:00:00:00'/><source bridge='vmbr{VNI}'/>"
        "<model type='virtio'/></interface>"
    )
    return (
        f"<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>512</memory><vcpu>2</vcpu>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{disks}{card}</devices></domain>"
    )


def _certificate(directory: Path) -> str:
    """A certificate that signs itself, with its key beside it."""
    path = directory / "certificate.pem"
    subject = ["-subj", f"/CN={ADDRESS}", "-addext", f"subjectAltName=IP:{ADDRESS}"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(path)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)
    return str(path)
