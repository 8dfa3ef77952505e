"""The main job, step by step, as a person would do it with ``pvc``; each step is checked by what the guest itself
says."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import guest
from lab.cluster import Cluster
from lab.drive import Driver
from lab.errors import LabError, run
from lab.kernel import CACHE
from lab.progress import Progress

POOL, IMAGE, SECOND = "vms", "guest", "data"
MACHINE, SPARE = "demo", "spare"
VNI = 10
RESTART_LIMIT = 4.0  # seconds: two keepalives
STEPS: list[tuple[str, Callable[[Demo], str | None]]] = []


def step(what: str) -> Callable[[Callable[[Demo], str | None]], Callable[[Demo], str | None]]:
    def register(method: Callable[[Demo], str | None]) -> Callable[[Demo], str | None]:
        STEPS.append((what, method))
        return method

    return register


class Demo:
    """What the steps share: one user of the cluster, and the marks they leave on the guest's console."""

    def __init__(self, cluster: Cluster) -> None:
        self.user = Driver(cluster)
        self.pvc = self.user.pvc
        self.earlier = {task["task_id"] for task in self._newest()}

    def run(self, progress: Progress) -> None:
        """All steps. Raises LabError at the first that does not do what it should."""
        for what, method in STEPS:
            with progress.step(what) as outcome:
                outcome.text = method(self) or ""

    def _newest(self) -> list[dict[str, Any]]:
        return list(self.user.api("GET", "/tasks?limit=200")["tasks"])

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks of this demo, the newest first."""
        return [task for task in self._newest() if task["task_id"] not in self.earlier]

    def found(self, *arguments: str) -> list[str]:
        return [item["name"] for item in self.user.json(*arguments)]

    def define(self, name: str, volume: str, node: str) -> None:
        xml = guest.guest_xml(name, f"{POOL}/{volume}", bridges=(f"vmbr{VNI}",))
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(xml)
            file.flush()
            self.pvc("vm", "define", file.name, "-t", node)

    def check_gaps(self, name: str) -> str:
        """Let the guest count on for a while, and read from it whether a number is missing on its disk."""
        found = self.user.wait_console(
            name, r"check (\d+) lines on disk, (\d+) gaps", after=self.user.console_mark(name)
        )
        if found[2] != "0":
            raise LabError(f"the count on the disk of {name} has {found[2]} gaps")
        return f"{found[1]} numbers on its disk, none missing"


@step("three nodes run and are healthy")
def _nodes(demo: Demo) -> str:
    demo.pvc("cluster", "status")
    nodes = demo.user.json("node", "list")
    # Three nodes share this machine, which was busy starting them a moment ago: its load is no fault of theirs.
    faults = [
        f"{node['name']}: {plugin['message']}"
        for node in nodes
        for plugin in node["health_details"]
        if plugin["health_delta"] and plugin["name"] != "load"
    ]
    faults += [f"{node['name']} is in state {node['daemon_state']}" for node in nodes if node["daemon_state"] != "run"]
    if len(nodes) != 3 or faults:
        raise LabError(f"of {len(nodes)} nodes not all are well: {'; '.join(faults)}")
    return ", ".join(node["name"] for node in nodes)


@step("what an earlier demo left is removed")
def _clean(demo: Demo) -> str:
    removed = [name for name in (MACHINE, SPARE) if name in demo.found("vm", "list")]
    for name in removed:
        demo.pvc("vm", "remove", name, "-y")
    if POOL in demo.found("storage", "pool", "list"):
        for volume in demo.found("storage", "volume", "list", "-p", POOL):
            demo.pvc("storage", "volume", "remove", POOL, volume, "-y")
            removed.append(f"{POOL}/{volume}")
    return ", ".join(removed) or "nothing was there"


@step("a storage pool")
def _pool(demo: Demo) -> None:
    if POOL not in demo.found("storage", "pool", "list"):
        # One OSD holds one copy.
        demo.pvc("storage", "pool", "add", POOL, "32", "--replcfg", "copies=1,mincopies=1")


@step("a bridged network")
def _network(demo: Demo) -> None:
    if VNI not in [network["vni"] for network in demo.user.json("network", "list")]:
        demo.pvc("network", "add", str(VNI), "-d", "demo", "-p", "bridged")


@step("a bootable image is built from Debian's cloud kernel, and imported as raw and as qcow2")
def _image(demo: Demo) -> str:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        raw, qcow2 = Path(directory) / "guest.raw", Path(directory) / "guest.qcow2"
        guest.build(raw)
        run("qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(qcow2))
        for name, image in ((SPARE, qcow2), (IMAGE, raw)):
            demo.pvc("storage", "volume", "add", POOL, name, f"{guest.SIZE_MIB}M")
            demo.pvc("storage", "volume", "upload", POOL, name, str(image), "-f", image.suffix[1:])
    sizes = {volume["name"]: volume["stats"]["size"] for volume in demo.user.json("storage", "volume", "list")}
    return f"{POOL}/{IMAGE} and {POOL}/{SPARE}, {sizes[IMAGE]} each"


@step("a machine is defined with that disk and a network card, and started")
def _define(demo: Demo) -> str:
    demo.define(MACHINE, IMAGE, "node1")
    demo.pvc("vm", "start", MACHINE)
    demo.user.wait_state(MACHINE, "start")
    return "on node1"


@step("its console shows that it boots, counts and has an address")
def _console(demo: Demo) -> str:
    demo.user.wait_console(MACHINE, r"count \d+")
    log = demo.pvc("vm", "log", MACHINE, "-l", "200")
    return " / ".join(re.findall(r"guest: (.*memory|nic eth0.*)", log)[-2:])


@step("it answers on the network, to another node")
def _answer(demo: Demo) -> str:
    address = demo.user.wait_console(MACHINE, r"nic eth0 appeared: \S+ (10\.99\.\d+\.\d+)")[1]
    demo.user.on_host("node3", "ip", "address", "replace", "10.99.0.3/16", "dev", f"vmbr{VNI}")
    url = f"http://{address}/cgi-bin/count"

    def look() -> str | None:
        try:
            return demo.user.on_host("node3", "curl", "--silent", "--fail", "--max-time", "2", url).strip()
        except LabError:
            return None

    count = demo.user.wait(f"an answer from {url}", look, 30)
    demo.user.on_host("node3", "ip", "address", "delete", "10.99.0.3/16", "dev", f"vmbr{VNI}")
    return f"{address} says {count}"


@step("it is moved to node2 while it counts")
def _migrate(demo: Demo) -> str:
    began = time.monotonic()
    demo.pvc("vm", "migrate", MACHINE, "-t", "node2", "-w")
    took = time.monotonic() - began
    vm = demo.user.vm(MACHINE)
    if (vm["node"], vm["state"], vm["migrated"]) != ("node2", "start", "from node1"):
        raise LabError(f"after the migration {MACHINE} is in state {vm['state']} on {vm['node']}")
    return f"in {took:.1f} s; {demo.check_gaps(MACHINE)}"


@step("a second disk is attached while it runs, seen inside, and detached")
def _disk(demo: Demo) -> str:
    demo.pvc("storage", "volume", "add", POOL, SECOND, "64M")
    mark = demo.user.console_mark(MACHINE)
    demo.pvc("vm", "volume", "add", MACHINE, f"{POOL}/{SECOND}", "-d", "vdb", "-b", "virtio", "--live", "-y")
    seen = demo.user.wait_console(MACHINE, r"disk vdb appeared: .*", after=mark)[0].strip()
    demo.pvc("vm", "volume", "remove", MACHINE, f"{POOL}/{SECOND}", "--live", "-y")
    demo.user.wait_console(MACHINE, r"disk vdb gone", after=seen)
    return f"{seen}; gone again"


@step("a second network card is attached while it runs, seen inside, and detached")
def _card(demo: Demo) -> str:
    mark, mac = demo.user.console_mark(MACHINE), "52:54:00:00:be:ef"
    demo.pvc("vm", "network", "add", MACHINE, str(VNI), "-a", mac, "-m", "virtio", "--live", "-y")
    seen = demo.user.wait_console(MACHINE, rf"nic eth1 appeared: {mac}.*", after=mark)[0].strip()
    demo.pvc("vm", "network", "remove", MACHINE, "-m", mac, "--live", "-y")
    demo.user.wait_console(MACHINE, r"nic eth1 gone", after=seen)
    return f"{seen}; gone again"


@step("its vCPUs and memory are changed with a restart")
def _resize(demo: Demo) -> str:
    mark = demo.user.console_mark(MACHINE)
    demo.pvc("vm", "vcpu", "set", MACHINE, "2", "--no-restart", "-y")
    demo.pvc("vm", "memory", "set", MACHINE, "384", "--restart", "-y")
    return demo.user.wait_console(MACHINE, r"2 vCPUs, 38\d MiB of memory", after=mark)[0]


@step("it is tagged, shut down, renamed twice, and started")
def _rename(demo: Demo) -> str:
    demo.pvc("vm", "tag", "add", MACHINE, "production")
    demo.pvc("vm", "shutdown", MACHINE, "-w", "-y")
    demo.user.wait_state(MACHINE, "stop")
    demo.pvc("vm", "rename", MACHINE, "renamed", "-y")
    demo.pvc("vm", "rename", "renamed", MACHINE, "-y")
    demo.pvc("vm", "start", MACHINE)
    demo.user.wait_state(MACHINE, "start")
    tags = [tag["name"] for tag in demo.user.vm(MACHINE)["tags"]]
    return f"tags: {', '.join(tags)}; {demo.check_gaps(MACHINE)}"


@step("it is moved to node3 for good")
def _move(demo: Demo) -> str:
    demo.pvc("vm", "move", MACHINE, "-t", "node3", "-w")
    vm = demo.user.vm(MACHINE)
    if (vm["node"], vm["migrated"]) != ("node3", "no"):
        raise LabError(f"after the move {MACHINE} is on {vm['node']}, migrated: {vm['migrated']}")
    return demo.check_gaps(MACHINE)


@step("its QEMU process is killed from outside; the node starts it again")
def _crash(demo: Demo) -> str:
    vm = demo.user.vm(MACHINE)
    mark = demo.user.console_mark(MACHINE)
    killed = demo.user.qemu_pid(vm["node"], vm["uuid"])
    if killed is None:
        raise LabError(f"no QEMU process of {MACHINE} runs on {vm['node']}")
    demo.user.on_host(vm["node"], "kill", f"-{int(signal.SIGKILL)}", str(killed))
    began = time.monotonic()

    def look() -> int | None:
        pid = demo.user.qemu_pid(vm["node"], vm["uuid"])
        return pid if pid != killed else None

    demo.user.wait("a new QEMU process", look, RESTART_LIMIT)
    took = time.monotonic() - began
    demo.user.wait_console(MACHINE, r"count continues after \d+; \d+ lines on disk, 0 gaps", after=mark)
    return f"after {took:.1f} s"


@step("a machine from the qcow2 image is stopped, and removed with its disk")
def _remove(demo: Demo) -> None:
    demo.define(SPARE, SPARE, "node2")
    demo.pvc("vm", "start", SPARE)
    demo.user.wait_console(SPARE, r"count \d+")
    demo.pvc("vm", "stop", SPARE, "-y")
    demo.user.wait_state(SPARE, "stop")
    demo.pvc("vm", "remove", SPARE, "-y")
    if SPARE in demo.found("vm", "list") or SPARE in demo.found("storage", "volume", "list"):
        raise LabError(f"{SPARE} or its volume is still there")


@step("every task shows who asked, its end and how long it took")
def _tasks(demo: Demo) -> str:
    tasks = demo.tasks()
    broken = [task["task_name"] for task in tasks if task["state"] != "SUCCESS" or not task["requested_by"]]
    if broken:
        raise LabError(f"these tasks did not succeed: {', '.join(broken)}")
    longest = max(tasks, key=lambda task: task["duration"])
    return f"{len(tasks)} tasks, the longest {longest['task_name']} with {longest['duration']:.1f} s"


def closing(cluster: Cluster) -> str:
    """What to try next."""
    pvc = "pvc" if os.environ.get("VIRTUAL_ENV") else ".venv/bin/pvc"
    return f"""
The cluster stays up, with the machine '{MACHINE}' running on it.
  web and API    http://127.0.0.1:{cluster.publish}/
  user           admin, with the password {cluster.password_file.read_text().strip()}
  token          in {cluster.token_file}
Try:
  {pvc} -c {cluster.name} cluster status
  {pvc} -c {cluster.name} vm log {MACHINE} -f
  {pvc} -c {cluster.name} cluster task
Take it away with: make down"""
