"""Two clusters with a line between them, and a machine that is passed on: what it writes is numbered, so that each copy
shows what it lacks. The clocks of the second cluster are an hour ahead."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab import namespaces
from lab.cluster import Cluster
from lab.drive import Driver
from lab.link import Link
from lab.writer import BLOCK_KIB, pattern_disks

EAST = os.environ.get("PVC_TEST_CLUSTER", "citest")
WEST = f"{EAST[:7]}w"
AHEAD = 3600  # seconds
NAME, POOL = "traveller", "travel"
HTTPS_PORT = 7443
OVER = {"SUCCESS", "FAILURE", "REVOKED"}


@dataclass(frozen=True)
class Sites:
    east: Driver
    west: Driver
    line: Link

    def home(self) -> tuple[Driver, Driver]:
        """The site that leads the machine, and the other one."""
        east_leads = mirror_role(self.east) in ("", "primary")
        return (self.east, self.west) if east_leads else (self.west, self.east)

    def name(self, site: Driver) -> str:
        """As the other one knows it."""
        return "west" if site is self.west else "east"

    @contextmanager
    def slow(self, rate: float) -> Iterator[None]:
        """With ``rate`` bits a second on the line."""
        self.line.set_rate(rate)
        try:
            yield
        finally:
            self.line.set_rate(0)

    @contextmanager
    def cut(self) -> Iterator[None]:
        self.line.set_cut(True)
        try:
            yield
        finally:
            self.line.set_cut(False)


def address(cluster: Cluster) -> str:
    return f"https://{cluster.floating('upstream').partition('/')[0]}:{HTTPS_PORT}/api/v1"


def introduce(to: Driver, name: str, other: Cluster) -> None:
    """Make the other cluster known. The name is none of a connection of the command's, which goes another way."""
    to.pvc("peer", "add", name, "-a", address(other), "-k", f"@{other.token_file}")


def written(site: Driver, after: str = "", name: str = NAME) -> int:
    """A number that the machine has written and synced, beyond the console's mark ``after``."""
    return int(site.wait_console(name, r"guest: pattern (\d+)$", after=after)[1])


def written_now(site: Driver, name: str = NAME, beyond: int = 0) -> int:
    """A number that the machine writes after this call, larger than ``beyond``."""
    while (number := written(site, site.console_mark(name), name)) <= beyond:
        pass
    return number


def continued(site: Driver, after: str) -> int:
    """The last number on the machine's disks when it was started, beyond the console's mark ``after``."""
    return int(site.wait_console(NAME, r"guest: pattern continues after (\d+),", after=after)[1])


def copied(site: Driver, snapshot: str) -> int:
    """The last number in a snapshot of the machine."""
    return checked(site, *(f"{disk}@{snapshot}" for disk in pattern_disks(f"{POOL}/{NAME}")))


def checked(site: Driver, *images: str) -> int:
    """The last number on these images, of RBD or files, which are whole and of one moment."""
    node = next(node["name"] for node in site.api("GET", "/node") if node["daemon_state"] == "run")
    found = site.json_on(node, sys.executable, "-m", "lab.pattern", "--block", str(BLOCK_KIB), *images)
    assert found["wrong"] == []
    return int(found["last"])


def mirror(site: Driver) -> dict[str, Any]:
    return dict(site.vm(NAME)["mirror"])


def mirror_role(site: Driver) -> str:
    """Empty where the machine has no mirror, or is not known."""
    found = [vm for vm in site.api("GET", "/vm") if vm["name"] == NAME]
    return str((found[0]["mirror"] or {"role": ""})["role"]) if found else ""


def brought_up_to_date(site: Driver, other: Driver) -> None:
    """The other site has, whole, all that was written before the call."""
    before = written_now(site)
    site.pvc("vm", "mirror", "create", NAME, "west" if other.cluster.name == WEST else "east")
    assert copied(other, mirror(other)["snapshot"]) >= before


def send(site: Driver, method: str, path: str, body: Any = None) -> str:
    """Ask for work without waiting for it; the task's id."""
    return str(site.api(method, path, body, Prefer="respond-async")["task_id"])


def ended(site: Driver, task: str, timeout: float = 120) -> dict[str, Any]:
    return awaited(site, task, f"the end of task {task}", lambda found: False, timeout)


def awaited(
    site: Driver, task: str, what: str, reached: Callable[[dict[str, Any]], bool], timeout: float = 60
) -> dict[str, Any]:
    """The task as soon as it has come to a point, or to its end."""
    deadline = time.monotonic() + timeout

    def look() -> dict[str, Any] | None:
        while time.monotonic() < deadline:  # the answer comes with the task's next change
            found = site.api("GET", f"/tasks/{task}?wait=1")
            if found["state"] in OVER or reached(found):
                return dict(found)
        return None

    return site.wait(what, look, timeout)


def flows(task: dict[str, Any]) -> bool:
    """Whether the blocks of a snapshot are on the line."""
    return "Sending" in task["status"] and "%" in task["status"]


def runs_on(site: Driver) -> list[str]:
    """The nodes of a site on which a QEMU of the machine runs."""
    uuid, alive = site.vm(NAME)["uuid"], namespaces.running(site.cluster)
    return [node for node in site.cluster.nodes if node in alive and site.qemu_pid(node, uuid)]


def said(site: Driver) -> int:
    """The largest number that the console of a site shows as written; 0 where the machine has not run."""
    return max(map(int, re.findall(r"guest: pattern (?:stops at )?(\d+)", site.console(NAME, 1000))), default=0)


def resumed(site: Driver, at_least: int, name: str = NAME) -> int:
    """Wait until the machine was started with all up to this number on its disks; up to which number it had."""

    def look() -> int | None:
        found = re.findall(r"guest: pattern continues after (\d+),", site.console(name, 1000))
        newest = max(map(int, found), default=0)
        return newest if newest >= at_least else None

    return site.wait(f"{name} to go on after {at_least}", look, 60)
