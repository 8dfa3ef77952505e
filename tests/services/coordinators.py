"""Three coordinators' ZooKeeper, PostgreSQL under Patroni and Redis with Sentinel on loopback, to be killed and hung,
and the parts of PVC that have to live through that: a web server, a worker and the beat."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg2
import requests
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

from lab import backing, patroni, sentinel
from lab.local import LocalServices

CHECKOUT = Path(__file__).resolve().parents[2]
NUMBERS = (1, 2, 3)
ZOOKEEPER_PORT, POSTGRESQL_PORT, PATRONI_PORT, REDIS_PORT, SENTINEL_PORT = 2181, 5432, 8008, 6379, 26379
SCOPE = "pvc"
PARTS = ("zookeeper", "patroni", "redis", "sentinel")
PVC = ("web", "control", "beat")


class Coordinators(LocalServices):
    """Services are named by what they are and their coordinator's number: ``patroni-1``."""

    def __init__(self) -> None:
        # A network of its own within loopback, so that all have their usual ports.
        network = f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}"
        self.addresses = {number: f"{network}.{number}" for number in NUMBERS}
        super().__init__(zookeeper=False, postgresql=False, redis=False)
        password = self.password_file.read_text().strip()
        hosts = list(self.addresses.values())
        for number, address in self.addresses.items():
            services = [
                backing.zookeeper(self._data(f"zookeeper-{number}"), address, ZOOKEEPER_PORT, 256, hosts),
                patroni.service(
                    self._data(f"patroni-{number}"),
                    f"node{number}",
                    address,
                    POSTGRESQL_PORT,
                    PATRONI_PORT,
                    self._each(ZOOKEEPER_PORT),
                    password,
                    SCOPE,
                ),
                *sentinel.services(self._data(f"redis-{number}"), address, REDIS_PORT, SENTINEL_PORT, hosts[0], 2),
            ]
            self._services += [replace(service, name=f"{service.name}-{number}") for service in services]
        self.token_file = self.directory / "token"
        self._password = password
        self._pvc: dict[str, subprocess.Popen[bytes]] = {}

    def _each(self, port: int) -> list[str]:
        return [f"{address}:{port}" for address in self.addresses.values()]

    def _configuration(self) -> dict[str, object]:
        settings = super()._configuration()
        self.listen: str = settings["api"]["listen"]  # type: ignore[index]
        return settings | {
            "zookeeper": {"hosts": self._each(ZOOKEEPER_PORT)},
            "postgresql": {"hosts": self._each(POSTGRESQL_PORT), "password_file": str(self.password_file)},
            "redis": {"url": ";".join(f"sentinel://{host}" for host in self._each(SENTINEL_PORT))},
        }

    def start(self, timeout: float = 60.0) -> Coordinators:
        """All of it, up and safe against the loss of one coordinator."""
        super().start(timeout)
        try:
            admin = ["create_admin", "--password-file", str(self.directory / "password"), "--token-file"]
            for arguments in (["migrate", "--verbosity=0"], [*admin, str(self.token_file)]):
                command = [sys.executable, "manage.py", *arguments]
                subprocess.run(command, check=True, cwd=CHECKOUT, env=self._environment(), capture_output=True)
            for name in PVC:
                self._start_pvc(name)
            until(lambda: self.get("tasks") == 200 and self._has_begun("control") and self._has_begun("beat"), timeout)
            until(self.is_safe, timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for process in self._pvc.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        super().stop()

    def is_safe(self) -> bool:
        """Whether any one coordinator may go: PostgreSQL and Redis have two followers each, and one of PostgreSQL's has
        all that is committed."""
        return self._postgresql_is_safe() and self._redis_is_safe()

    def leader(self) -> int:
        """The coordinator with PostgreSQL's leader."""
        return int(self._znode("leader").decode().removeprefix("node"))

    def master(self) -> int:
        """The coordinator with Redis' master."""
        address, _ = self._sentinels().discover_master(sentinel.MASTER)
        return next(number for number, known in self.addresses.items() if known == address)

    def crash(self, names: Iterable[str]) -> None:
        for name in names:
            self.kill(name)

    def hang(self, names: Iterable[str]) -> None:
        """Stop all processes of the services, as on a server that hangs: the kernel goes on taking connections."""
        for name in names:
            for pid in self.pids(name):
                os.kill(pid, signal.SIGSTOP)

    def bring_back(self, names: Iterable[str]) -> None:
        """Let what hangs go on, start what was killed, and wait until all is safe again."""
        for name in names:
            if name in self._processes:
                for pid in self.pids(name):
                    os.kill(pid, signal.SIGCONT)
            else:
                self.start_service(name)
        for name in names:
            self.wait(name)
        until(self.is_safe)

    def get(self, path: str, timeout: float = 60.0) -> int:
        """Status of the answer to GET ``path``; 0 when there is no answer."""
        try:
            return requests.get(self._url(path), headers=self._key(), timeout=timeout).status_code
        except requests.RequestException:
            return 0

    def ask_for_probe(self, path: Path) -> int:
        """Status of the answer to a request for a probe; 0 when there is no answer."""
        parameters = {"path": str(path)}
        try:
            return requests.post(self._url("probe"), parameters, headers=self._key(), timeout=60.0).status_code
        except requests.RequestException:
            return 0

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """The rows that PostgreSQL's leader answers."""
        where = {"host": self.addresses[self.leader()], "port": POSTGRESQL_PORT, "connect_timeout": 5}
        connection = psycopg2.connect(**where, user="pvc", dbname="pvc", password=self._password)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                rows: list[tuple[object, ...]] = cursor.fetchall()
                return rows
        finally:
            connection.close()

    def log(self, name: str) -> str:
        return self._log(name).read_text()

    def _environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(CHECKOUT), "PVC_CONFIG_FILE": str(self.config_file)}

    def _start_pvc(self, name: str) -> None:
        command = [str(Path(__file__).with_name("process.py")), name]
        if name == "web":
            command = ["-m", "gunicorn", "-c", "python:pvc_web.config.gunicorn", "tests.services.probe_web:application"]
        with self._log(name).open("ab") as log:
            self._pvc[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", sys.executable, *command],
                env=self._environment(),
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _has_begun(self, name: str) -> bool:
        return any(word in self.log(name) for word in ("control@node1 ready", "leads the schedules"))

    def _url(self, path: str) -> str:
        return f"http://{self.listen}/api/v1/{path}"

    def _key(self) -> dict[str, str]:
        return {"X-Api-Key": self.token_file.read_text().strip()}

    def _znode(self, name: str) -> bytes:
        client = KazooClient(",".join(self._each(ZOOKEEPER_PORT)), timeout=5)
        client.start()
        try:
            value: bytes = client.get(f"/service/{SCOPE}/{name}")[0]
            return value
        finally:
            client.stop()
            client.close()

    def _postgresql_is_safe(self) -> bool:
        with suppress(psycopg2.Error, KazooException):
            second = json.loads(self._znode("sync"))["sync_standby"]
            followers = self.query("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
            return bool(second) and len(followers) == len(NUMBERS) - 1
        return False

    def _sentinels(self) -> Sentinel:
        return Sentinel([(address, SENTINEL_PORT) for address in self.addresses.values()], socket_timeout=2)

    def _redis_is_safe(self) -> bool:
        with suppress(RedisError):
            return len(self._sentinels().discover_slaves(sentinel.MASTER)) == len(NUMBERS) - 1
        return False


def until(condition: Callable[[], object], timeout: float = 60.0, interval: float = 0.1) -> float:
    """Wait for a condition that nothing announces; the seconds that it took. Fails after ``timeout`` seconds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + timeout, f"not so within {timeout:g} s"
        time.sleep(interval)
    return time.monotonic() - begun
