"""The cluster that is broken and mended: its machines, and the hands that do it."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from lab import bmc, guest, hosts, namespaces, network, power, sentinel
from lab.bmc import Condition
from lab.ceph import GROUP
from lab.cluster import NETWORKS, Cluster
from lab.drive import Driver
from lab.errors import LabError
from lab.failover.observer import Observer

POOL, VNI = "failover", 30
MACHINES = ("fo1", "fo2", "fo3")
PATRONI = ("/usr/bin/python3", "/usr/bin/patronictl", "-c", f"{hosts.DATA}/postgresql/patroni.yml")
BOOTS = 4  # tries
BOOT_LIMIT = 60.0  # seconds
REPAIR_LIMIT = 240.0  # seconds


class Rig:
    """One cluster of the profile ``full``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.user = Driver(cluster)
        self.uuids: dict[str, str] = {}
        self.victim = ""
        self.began = 0.0  # monotonic, when the fault was made
        self.broken_boots = 0  # of guests, that have nothing to do with the cluster
        self.api_back = 0.0  # seconds from then until the API answered
        self.observer = Observer(cluster, (), self.may_write)

    def set_up(self) -> None:
        """The machines, made where they are missing."""
        user = self.user
        if VNI not in [found["vni"] for found in user.json("network", "list")]:
            user.pvc("network", "add", str(VNI), "-d", "failover", "-p", "bridged")
        if POOL not in [found["name"] for found in user.json("storage", "pool", "list")]:
            user.pvc("storage", "pool", "add", POOL, "16", "--replcfg", "copies=3,mincopies=2")
        known = [found["name"] for found in user.json("vm", "list")]
        with tempfile.TemporaryDirectory() as directory:
            image = Path(directory, "guest.raw")
            if any(name not in known for name in MACHINES):
                guest.build(image)
            for name in MACHINES:
                if name not in known:
                    self._define(name, image, Path(directory, f"{name}.xml"))
        self.uuids = {name: str(user.vm(name)["uuid"]) for name in MACHINES}

    def _define(self, name: str, image: Path, xml: Path) -> None:
        user = self.user
        user.pvc("storage", "volume", "add", POOL, name, f"{guest.SIZE_MIB}M")
        user.pvc("storage", "volume", "upload", POOL, name, str(image), "-f", "raw")
        xml.write_text(guest.guest_xml(name, f"{POOL}/{name}", bridges=(f"vmbr{VNI}",)))
        user.pvc("vm", "define", str(xml), "-t", "node4")
        user.pvc("vm", "start", name)

    def gather(self, victim: str) -> None:
        """Bring every machine to the victim, and wait until each counts there."""
        self.victim = victim
        for name in MACHINES:
            if self.user.vm(name)["node"] != victim:
                self.user.pvc("vm", "move", name, "-t", victim, "-w")
            self.user.wait_state(name, "start", 60)
        self.await_guests()

    def primary(self) -> str:
        return str(self.user.api("GET", "/status")["primary_node"])

    def leader(self) -> str:
        """The coordinator with PostgreSQL's leader, once a second member has all that it has: before that, nobody may
        succeed it."""

        def look() -> str | None:
            roles = self._postgresql(self.cluster.coordinators[0])
            return roles.get("Leader") if "Sync Standby" in roles else None

        return self.user.wait("PostgreSQL's leader and its standby", look, REPAIR_LIMIT)

    def lead(self, node: str) -> None:
        """Make the coordinator with PostgreSQL's leader the primary, and give it Redis' master."""
        if self.primary() != node:
            self.user.pvc("node", "primary", node, "-w")
        for other in self.cluster.coordinators:
            priority = "1" if other == node else "50"
            self._redis(other, hosts.REDIS_PORT, "config", "set", "replica-priority", priority)
        self.user.wait(f"Redis' master on {node}", lambda: self._is_master(node), REPAIR_LIMIT)

    def _postgresql(self, node: str) -> dict[str, str]:
        """A member of PostgreSQL's cluster for each role that there is."""
        members = self.user.json_on(node, *PATRONI, "list", "-f", "json")
        return {member["Role"]: member["Member"] for member in members if member["State"] in ("running", "streaming")}

    def _is_master(self, node: str) -> bool:
        if "role:master" in self._redis(node, hosts.REDIS_PORT, "info", "replication"):
            return True
        self._redis(node, hosts.SENTINEL_PORT, "sentinel", "failover", sentinel.MASTER)
        return False

    def _redis(self, node: str, port: int, *command: str) -> str:
        address = self.cluster.address(node, "cluster")
        return self.user.on_host(node, "redis-cli", "-h", address, "-p", str(port), *command)

    def block_monitors(self, host: str) -> None:
        """Let no client of Ceph on a host reach the monitors; its own Ceph daemons still do, and its disks go on."""
        rules = "add table inet fault; add chain inet fault out { type filter hook output priority 0; }; "
        rules += f"add rule inet fault out meta skgid != {GROUP} tcp dport {{ 3300, 6789 }} drop"
        self.user.on_host(host, "nft", rules)

    def fence(self, node: str) -> dict[str, Any] | None:
        """How far a node's fence has come; None without one."""
        try:
            return dict(self.user.api("GET", f"/node/{node}/fence"))
        except HTTPError:
            return None

    def repair(self) -> None:
        """Mend all that a fault can have broken, and wait until the cluster is whole."""
        for host in self.cluster.hosts:
            network.set_cables(self.cluster, host, tuple(NETWORKS), up=True)
            if host in self.cluster.bmcs:
                bmc.set_condition(self.cluster, host, Condition.OK)
            if host in namespaces.running(self.cluster):
                namespaces.resume(self.cluster, host)
                self.user.on_host(host, "sh", "-c", "nft delete table inet fault 2>/dev/null || true")
                self.user.on_host(host, "sh", "-c", "sv up /run/service/* >/dev/null || true")
            else:
                power.power_on(self.cluster, host)
        self.user.wait("all nodes to run", self._whole, REPAIR_LIMIT)
        for node in self.user.api("GET", "/node"):
            if node["domain_state"] != "ready":
                self.user.pvc("node", "ready", node["name"], "-w")
        self.user.wait("the storage to be well", self._storage_well, REPAIR_LIMIT)

    def _whole(self) -> bool:
        nodes = self.user.api("GET", "/node")
        return all(node["daemon_state"] == "run" and not node["fence"] for node in nodes)

    def _storage_well(self) -> bool:
        osds = self.user.api("GET", "/status")["osds"]
        return bool(osds.get("up,in") == osds["total"] == len(self.cluster.backers))

    def may_write(self, host: str) -> bool:
        """Whether Ceph takes anything from a host."""
        address = self.cluster.address(host, "storage")
        for asked in self.cluster.coordinators:
            with suppress(LabError, subprocess.TimeoutExpired):
                return f"{address}:0/" not in self.user.on_host(asked, "ceph", "osd", "blocklist", "ls", timeout=5)
        return True

    def check_disks(self) -> None:
        """Let each guest read its own count back."""
        for name, found in self._consoles(r"lines on disk, (\d+) gaps").items():
            if found[1] != "0":
                raise LabError(f"the count on the disk of {name} has {found[1]} gaps")

    def await_guests(self) -> None:
        """Wait until each guest counts: one that is moved while it boots may not outlive it without KVM. A kernel that
        died while it booted, which without KVM happens too, is started anew."""
        before = {name: self._now(name) for name in MACHINES}
        for name in MACHINES:
            for _ in range(BOOTS):
                if self._lives(name, before[name]):
                    break
                self.broken_boots += 1
                self.user.pvc("vm", "stop", name, "-y")
                self.user.pvc("vm", "start", name)
            else:
                raise LabError(f"the kernel of {name} dies each time it boots")

    def _now(self, name: str) -> str:
        """What a guest has counted to, once its node tells."""
        return self.user.wait(f"the console of {name}", lambda: [self._count(name)], BOOT_LIMIT)[0]

    def _lives(self, name: str, before: str) -> bool:
        def look() -> str | None:
            if re.search(r"Oops: |Kernel panic", self._since_boot(name)):
                return "dead"
            return "alive" if self._count(name) not in ("", before) else None

        try:
            return self.user.wait(f"{name} to count", look, BOOT_LIMIT) == "alive"
        except LabError:
            return False

    def _since_boot(self, name: str) -> str:
        text = self.user.console(name, 1000)
        return text[max(0, text.rfind("SYSLINUX")) :]

    def _count(self, name: str) -> str:
        """The last number that a guest has printed since it was booted; empty when there is none."""
        found = re.findall(r"^guest: count (\d+)$", self._since_boot(name), re.MULTILINE)
        return str(found[-1]) if found else ""

    def _consoles(self, pattern: str) -> dict[str, re.Match[str]]:
        """What each machine's console shows next that fits a pattern."""
        last = {name: self.user.console_mark(name) for name in MACHINES}
        return {name: self.user.wait_console(name, pattern, after=last[name]) for name in MACHINES}

    def recovery(self, since: float, limit: float) -> list[float]:
        """Seconds from ``since`` until each machine had a new QEMU. Raises LabError when one has none in ``limit``."""

        def look() -> list[float] | None:
            times = [self.observer.came(uuid, since) for uuid in self.uuids.values()]
            found = [seconds for seconds in times if seconds is not None]
            return found if len(found) == len(times) else None

        return self.user.wait("a new QEMU of each machine", look, limit - (time.monotonic() - since))
