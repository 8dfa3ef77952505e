"""Backing services on loopback, in a temporary directory: for tests and benchmarks that need no whole laboratory."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import yaml

from lab import backing
from lab.ceph import Ceph
from lab.service import Service

ADDRESS = "127.0.0.1"


class ServiceError(Exception):
    """A service did not come up; the message says which, and ends with the last lines of its log."""


class LocalServices:
    """Real ZooKeeper, PostgreSQL, Redis and Ceph on free ports of 127.0.0.1, as many of them as are asked for; Ceph
    also at another address of this machine.

    ``with LocalServices(ceph=True) as services: ...``, or ``start`` and ``stop``. Known before they are started:

    - ``zookeeper``: ``host:port``;
    - ``postgresql_port``, with user and database ``pvc`` and the password in the file ``password_file``;
    - ``redis``: a URL;
    - ``ceph_config``: path of a ceph.conf, to be used as user ``admin`` without a key;
    - ``config_file``: a pvc.conf of a node ``node1`` that names all of these, for ``PVC_CONFIG_FILE``.

    The services die with the thread that started them (the kernel sees to it), so an interrupted test leaves none.
    PostgreSQL refuses to run as root and gets Debian's user ``postgres``.
    """

    def __init__(
        self,
        *,
        zookeeper: bool = True,
        postgresql: bool = True,
        redis: bool = True,
        ceph: bool = False,
        ceph_address: str = ADDRESS,
        heap_mib: int = 512,
        memory_gib: int = 8,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pvc-services-"))
        self.directory.chmod(0o711)  # postgres has to pass through
        self.password_file = self.directory / "postgresql.secret"
        self.config_file = self.directory / "pvc.conf"
        self.ceph_config = self.directory / "ceph.conf"
        ports = iter(_free_ports(5))
        self.zookeeper = f"{ADDRESS}:{next(ports)}"
        self.postgresql_port = next(ports)
        self.redis = f"redis://{ADDRESS}:{next(ports)}/0"
        self._services: list[Service] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        password = secrets.token_urlsafe(24)
        self._secret("postgresql.secret", password)
        self._secret("django.secret", secrets.token_urlsafe(48))
        self._secret("cluster.secret", secrets.token_urlsafe(48))
        if zookeeper:
            self._services.append(backing.zookeeper(self._data("zookeeper"), *_split(self.zookeeper), heap_mib))
        if postgresql:
            self._services.append(backing.postgresql(self._data("postgresql"), ADDRESS, self.postgresql_port, password))
        if redis:
            port = int(self.redis.rpartition(":")[2].partition("/")[0])
            self._services.append(backing.redis(self._data("redis"), ADDRESS, port))
        if ceph:
            monitor = (next(ports), next(ports))
            fsid = str(uuid.uuid4())
            plan = Ceph(fsid, {"a": ceph_address}, self._data("ceph"), str(self.ceph_config), monitor, memory_gib)
            self._services += plan.services("a")
        for name in ("log", "console", "state", "spool"):
            (self.directory / name).mkdir(exist_ok=True)
        self.config_file.write_text(yaml.safe_dump(self._configuration(), sort_keys=False))

    def __enter__(self) -> LocalServices:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = 60.0) -> LocalServices:
        """Start all services side by side and wait until each answers. Raises ServiceError, and leaves none running."""
        try:
            for service in self._services:
                self.start_service(service.name)
            for service in self._services:
                self.wait(service.name, timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def start_service(self, name: str) -> None:
        """Start one service (again), without waiting for it. Its data are as they were when it died."""
        service = self._service(name)
        service.install()
        script = self.directory / f"{name}.sh"
        script.write_text(service.script())
        # In a process namespace, so that what it starts goes with it: PostgreSQL leaves Patroni's session and group.
        namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "tini", "--"]
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", *namespace, *service.command(str(script))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, name: str, timeout: float = 60.0) -> None:
        """Wait until the service ``name`` answers. Raises ServiceError when it ends, or after ``timeout`` seconds."""
        service = self._service(name)
        deadline = time.monotonic() + timeout
        while subprocess.run(service.ready, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            code = self._processes[name].poll()
            if code is not None or time.monotonic() > deadline:
                reason = f"ended with status {code}" if code is not None else f"did not answer within {timeout:g} s"
                raise ServiceError(f"{name} {reason}; its last words:\n{backing.tail(self._log(name))}")
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill one service at once, as a crash does; ``start_service`` and ``wait`` bring it back."""
        process = self._processes.pop(name)
        _end(process)
        process.wait()

    def pids(self, name: str) -> list[int]:
        """Every process of a service that runs."""
        found = [self._processes[name].pid]
        for pid in found:  # grows by the children of each
            found += children(pid)
        return found[1:]

    def stop(self) -> None:
        """Kill every service and remove the directory. Safe to call twice."""
        for process in self._processes.values():
            _end(process)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _service(self, name: str) -> Service:
        return next(service for service in self._services if service.name == name)

    def _data(self, name: str) -> str:
        return str(self.directory / name)

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _secret(self, name: str, value: str) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(value + "\n")

    def _configuration(self) -> dict[str, object]:
        directory = self.directory
        addresses = dict.fromkeys(("upstream", "cluster", "storage"), f"{ADDRESS}/8")
        api_port, listen_port = _free_ports(2)
        return {
            "node": {"name": "node1", "role": "coordinator", "addresses": addresses},
            "zookeeper": {"hosts": [self.zookeeper]},
            "postgresql": {
                "hosts": [f"{ADDRESS}:{self.postgresql_port}"],
                "password_file": str(self.password_file),
            },
            "redis": {"url": self.redis},
            "ceph": {"config_file": str(self.ceph_config)},
            "api": {"listen": f"{ADDRESS}:{api_port}", "secret_key_file": str(directory / "django.secret")},
            "daemon": {
                "listen_port": listen_port,
                "cluster_secret_file": str(directory / "cluster.secret"),
                "log_directory": str(directory / "log"),
                "console_directory": str(directory / "console"),
                "state_directory": str(directory / "state"),
                "spool_directory": str(directory / "spool"),
            },
        }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a service's namespace by its init; ``process`` itself ends once all in it is gone."""
    for pid in children(process.pid) or [process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.partition(":")
    return host, int(port)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; held all at once while choosing, so that they differ."""
    sockets = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports
