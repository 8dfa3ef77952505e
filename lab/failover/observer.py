"""Which nodes have a QEMU of which machine, looked at from outside the nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import namespaces
from lab.cluster import Cluster

SAMPLE = 0.05  # seconds between two looks at the processes


@dataclass(frozen=True)
class Qemu:
    """One process, and the machine that it runs on a host."""

    uuid: str
    host: str
    pid: int


class Observer:
    """Looks many times a second for as long as its context lasts. Times are monotonic.

    ``twice`` has the machines that ran on two hosts at one moment from which both ``may_write``.
    """

    def __init__(self, cluster: Cluster, uuids: Collection[str], may_write: Callable[[str], bool]) -> None:
        self._cluster = cluster
        self._hosts: dict[str, str] = {}  # process namespace -> host
        self._uuids = uuids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._judges: list[threading.Thread] = []
        self._begun: dict[Qemu, float] = {}
        self._ended: dict[Qemu, float] = {}
        self._may_write = may_write
        self._judged: set[tuple[str, frozenset[str]]] = set()
        self.twice: set[str] = set()

    def __enter__(self) -> Observer:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in (self._thread, *self._judges):
            thread.join()

    def came(self, uuid: str, since: float) -> float | None:
        """Seconds from ``since`` to the first QEMU of a machine that began after it; None: there was none."""
        times = [when - since for qemu, when in self._begun.items() if qemu.uuid == uuid and when > since]
        return min(times, default=None)

    def left(self, host: str, since: float) -> float | None:
        """Seconds from ``since`` until the last QEMU of a host had gone that was there then; None: one is left."""
        old = [qemu for qemu, when in self._begun.items() if qemu.host == host and when <= since]
        if any(qemu not in self._ended for qemu in old):
            return None
        return max((self._ended[qemu] - since for qemu in old), default=0.0)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE):
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        states = dict(self._processes())
        for qemu in states:
            self._begun.setdefault(qemu, now)
        for qemu in self._begun.keys() - states.keys():
            self._ended.setdefault(qemu, now)
        for uuid in self._uuids:
            hosts = {qemu.host for qemu, state in states.items() if qemu.uuid == uuid and state not in "TZX"}
            if len(hosts) > 1 and (uuid, frozenset(hosts)) not in self._judged:
                self._judged.add((uuid, frozenset(hosts)))
                judge = threading.Thread(target=self._judge, args=(uuid, hosts))  # it asks Ceph, which takes a while
                self._judges.append(judge)
                judge.start()

    def _judge(self, uuid: str, hosts: set[str]) -> None:
        if sum(self._may_write(host) for host in hosts) > 1:
            self.twice.add(uuid)

    def _processes(self) -> Iterator[tuple[Qemu, str]]:
        """Each QEMU of the cluster, with its state as the kernel calls it (T: stopped)."""
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if not (path / "comm").read_text().startswith("qemu-system"):
                    continue
                arguments = (path / "cmdline").read_text(errors="replace")
                state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                uuid = next((uuid for uuid in self._uuids if uuid in arguments), "")
                host = self._host(str((path / "ns/pid").readlink()))
                if uuid and host:
                    yield Qemu(uuid, host, int(path.name)), state

    def _host(self, namespace: str) -> str:
        """The host whose processes live in a namespace; empty when it is none of the cluster's."""
        if namespace not in self._hosts:
            for host, init in namespaces.running(self._cluster).items():
                self._hosts[str(Path(f"/proc/{init}/ns/pid").readlink())] = host
        return self._hosts.setdefault(namespace, "")
