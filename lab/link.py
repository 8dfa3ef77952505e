"""The line between two clusters: a router of its own between their upstream networks, which can be cut, made slow and
made long. What state it is in, the kernel knows: nothing is noted anywhere else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab import cluster as plans
from lab import namespaces, network
from lab.cluster import Cluster
from lab.errors import LabError, run, succeeds

PREFIX = "pvclink"
DELAYER = "delay"  # the TUN interface of lab.delay
TABLE = "100"  # routes of what comes from either cluster: into the delayer, where there is one
START_LIMIT = 10.0  # seconds
BURST = 0.01  # seconds of the rate that go through at once
QUEUE = "100ms"  # how long a packet may wait for its turn; what would wait longer is lost

_RATE = re.compile(r"(\d+(?:\.\d+)?)([kmg]?)bit", re.IGNORECASE)
_DELAY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


@dataclass(frozen=True)
class Condition:
    """How a line is. ``rate`` in bits a second and ``delay`` in seconds hold for each direction; 0: none."""

    cut: bool
    rate: float
    delay: float


@dataclass(frozen=True)
class Link:
    """The line between two clusters; made by ``between``, there or not."""

    ends: tuple[Cluster, Cluster]

    @property
    def namespace(self) -> str:
        return "-".join((PREFIX, *(end.name for end in self.ends)))

    @property
    def exists(self) -> bool:
        return (network.NAMESPACES / self.namespace).exists()

    def up(self) -> None:
        """Lay the line where there is none. Raises LabError when one of the clusters has another one."""
        if self.exists:
            return
        for end in self.ends:
            for other in of(end):
                raise LabError(
                    f"{end.name} has a line to another cluster already: "
                    f"pvc-lab link {other.ends[0].name} {other.ends[1].name} --down takes it away"
                )
        run("ip", "netns", "add", self.namespace)
        try:
            # What comes in from the delayer has the address of a host that is reached by another way.
            forward = "net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
            self._run("sysctl", "--quiet", "--write", *forward.split())
            for end in self.ends:
                self._plug_in(end)
        except LabError:
            self.down()
            raise

    def _plug_in(self, end: Cluster) -> None:
        inner, switch = _card(end), network.switch(end)
        card = ("name", inner, "address", network.mac(end.router.partition("/")[0]), "netns", self.namespace)
        run("ip", "-n", switch, "link", "add", self._port(end), "type", "veth", "peer", *card)
        run("ip", "-n", switch, "link", "set", self._port(end), "master", "upstream", "up")
        self._run("ip", "address", "add", end.router, "dev", inner)
        self._run("ip", "link", "set", inner, "up")
        self._run("ip", "rule", "add", "iif", inner, "lookup", TABLE)

    def down(self) -> None:
        """Take the line away, as far as it is there."""
        self._stop_delay()
        for end in self.ends:
            # A namespace's interfaces go some time after the namespace; the names must be free at once.
            succeeds(["ip", "-n", network.switch(end), "link", "delete", self._port(end)])
        if self.exists:
            run("ip", "netns", "delete", self.namespace)

    def set_cut(self, cut: bool) -> None:
        """Pull the line out at both clusters, or plug it in: what is under way is lost, and nobody is told."""
        for end in self.ends:
            run("ip", "-n", network.switch(end), "link", "set", self._port(end), "down" if cut else "up")

    def set_rate(self, rate: float) -> None:
        """Let ``rate`` bits a second through in each direction; 0: as many as can be."""
        for card in map(_card, self.ends):
            if rate:
                # A whole Ethernet frame at least, or nothing at all goes through.
                burst = str(max(3000, round(rate / 8 * BURST)))
                self._run(
                    "tc", "qdisc", "replace", "dev", card, "root",
                    "tbf", "rate", f"{rate:.0f}bit", "burst", burst, "latency", QUEUE,
                )  # fmt: skip
            elif self._token_bucket(card):
                self._run("tc", "qdisc", "delete", "dev", card, "root")

    def set_delay(self, delay: float) -> None:
        """Let each packet take ``delay`` seconds in each direction: twice as long there and back."""
        self._stop_delay()
        if not delay:
            return
        delayer = subprocess.Popen(
            self._inside(sys.executable, "-m", "lab.delay", DELAYER, str(delay)),
            env=namespaces.environment(self.ends[0], self._mark),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_LIMIT
        while not succeeds(self._inside("ip", "link", "show", DELAYER)):
            if delayer.poll() is not None or time.monotonic() > deadline:
                raise LabError("the delaying process did not start; is there a /dev/net/tun?")
            time.sleep(0.02)
        self._run("ip", "link", "set", DELAYER, "txqueuelen", "10000", "up")
        self._run("ip", "route", "replace", "default", "dev", DELAYER, "table", TABLE)

    def condition(self) -> Condition:
        """How the line is now. Raises LabError when there is none."""
        if not self.exists:
            raise LabError(f"there is no line; make it with: pvc-lab link {self.ends[0].name} {self.ends[1].name}")
        port = run("ip", "-json", "-n", network.switch(self.ends[0]), "link", "show", self._port(self.ends[0]))
        bucket = self._token_bucket(_card(self.ends[0]))
        return Condition(
            cut="UP" not in json.loads(port)[0]["flags"],
            rate=8 * bucket["rate"] if bucket else 0.0,
            delay=next((delay for _, delay in self._delayers()), 0.0),
        )

    def _token_bucket(self, card: str) -> dict[str, Any]:
        """The options of the qdisc that limits a direction; empty where none does."""
        found = json.loads(self._run("tc", "-json", "qdisc", "show", "dev", card))
        return next((dict(qdisc["options"]) for qdisc in found if qdisc["kind"] == "tbf"), {})

    def _stop_delay(self) -> None:
        for pid, _ in self._delayers():
            namespaces.kill_process(pid)

    def _delayers(self) -> Iterator[tuple[int, float]]:
        """Process id and seconds of what delays the packets: one at most."""
        for pid, host in namespaces.processes(self.ends[0]):
            if host == self._mark:
                yield pid, float(namespaces.arguments(pid)[-1])

    @property
    def _mark(self) -> str:
        """Stands for a host in the mark of the line's process."""
        return f"link-{self.ends[1].name}"

    def _port(self, end: Cluster) -> str:
        """Name of the line's end in the switch of a cluster."""
        other = self.ends[1] if end is self.ends[0] else self.ends[0]
        return f"link-{other.name}"

    def _inside(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net={network.NAMESPACES / self.namespace}", *argv]

    def _run(self, *argv: str) -> str:
        return run(*self._inside(*argv))


def between(one: Cluster, other: Cluster) -> Link:
    """The line between two clusters, named in either order."""
    if one.name == other.name:
        raise LabError("a line is between two clusters: name another one")
    first, second = sorted((one, other), key=lambda cluster: cluster.name)
    return Link((first, second))


def of(cluster: Cluster) -> list[Link]:
    """The lines that a cluster has: one at most."""
    found = []
    for path in network.NAMESPACES.glob(f"{PREFIX}-*-*"):
        names = path.name.split("-")[1:]
        ends = [plans.load(name, cluster.state.parent) for name in names]
        if cluster.name in names and all(ends):
            found.append(Link((ends[0], ends[1])))  # type: ignore[arg-type]  # all of them are there
    return found


def parse_rate(text: str) -> float:
    """Bits a second of ``10mbit`` or the like, 0 of ``none``. Raises ValueError."""
    match = _RATE.fullmatch(text)
    if match is None and text != "none":
        raise ValueError(f"'{text}' is no rate: write it as 500kbit, 10mbit, 1gbit, or none")
    return float(match[1]) * 1000 ** " kmg".index(match[2].lower() or " ") if match else 0.0


def parse_delay(text: str) -> float:
    """Seconds of ``50ms``, ``1.5s`` or ``0``. Raises ValueError."""
    match = _DELAY.fullmatch(text)
    if match is None and text != "0":
        raise ValueError(f"'{text}' is no delay: write it as 50ms or 1.5s, or 0")
    return float(match[1]) * (0.001 if match[2] == "ms" else 1.0) if match else 0.0


def _card(end: Cluster) -> str:
    """Name of the interface towards a cluster, in the line's own namespace."""
    return f"to-{end.name}"
