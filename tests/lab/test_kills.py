"""Whatever dies in the middle of an operation, the system puts right, or names, what was begun."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from lab import guest
from lab.cluster import INFRA, Cluster
from lab.drive import PVC, Driver
from lab.errors import LabError
from tests.lab.conftest import pvc_lab

POOL, NAME = "kills", "victim"
SAVING_THROW = 6.0  # seconds, and more than the cluster leaves a node after it was missed
OVER = {"SUCCESS", "FAILURE", "REVOKED"}


@pytest.fixture(scope="module")
def machine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A machine that runs on node1."""
    user = Driver(cluster)
    image = tmp_path_factory.mktemp("guest") / "guest.raw"
    guest.build(image)
    if 20 not in [network["vni"] for network in user.json("network", "list")]:
        user.pvc("network", "add", "20", "-d", "kills", "-p", "bridged")
    user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
    user.pvc("storage", "volume", "add", POOL, NAME, f"{guest.SIZE_MIB}M")
    user.pvc("storage", "volume", "upload", POOL, NAME, str(image), "-f", "raw")
    xml = tmp_path_factory.mktemp("xml") / "victim.xml"
    xml.write_text(guest.guest_xml(NAME, f"{POOL}/{NAME}", bridges=("vmbr20",)))
    user.pvc("vm", "define", str(xml), "-t", "node1")
    user.pvc("vm", "start", NAME)
    user.wait_console(NAME, r"count \d+")
    yield NAME
    user.pvc("vm", "remove", NAME, "-y")


def send(user: Driver, method: str, path: str) -> str:
    """Ask for work without waiting for it; the task's id."""
    return str(user.api(method, path, Prefer="respond-async")["task_id"])


def kill_service(user: Driver, host: str, service: str) -> None:
    """SIGKILL to all processes of a service; its supervisor starts it again."""
    user.on_host(host, "sv", "kill", service)


def ended(user: Driver, task: str, timeout: float = 60) -> dict:
    def look() -> dict | None:
        found = user.api("GET", f"/tasks/{task}")
        return found if found["state"] in OVER else None

    return user.wait(f"the end of task {task}", look, timeout)


def running_on(user: Driver, name: str) -> list[str]:
    """The nodes on which a QEMU of the machine runs; more than one would be the end of its disk."""
    uuid = user.vm(name)["uuid"]
    return [node for node in user.cluster.nodes if user.qemu_pid(node, uuid)]


def bring_to(user: Driver, name: str, node: str) -> None:
    if user.vm(name)["state"] != "start":
        user.pvc("vm", "start", name)
    if user.vm(name)["node"] != node:
        user.pvc("vm", "move", name, "-t", node, "-w")


def assert_alive(user: Driver, name: str) -> None:
    """It runs once, where its record says, and its disk shows no gap."""
    user.wait(f"{name} to run where its record says", lambda: running_on(user, name) == [user.vm(name)["node"]], 40)
    user.wait_state(name, "start", 40)
    found = user.wait_console(name, r"(\d+) lines on disk, (\d+) gaps", after=user.console_mark(name))
    assert found[2] == "0"


@pytest.mark.parametrize("service", ["pvc-control", "pvc-bulk", "pvc-web", "pvc-node", "libvirtd"])
def test_a_part_of_the_source_dies_during_a_migration(user: Driver, machine: str, service: str) -> None:
    bring_to(user, machine, "node1")
    task = send(user, "POST", f"/vm/{machine}/node?action=migrate&node=node2&force=true")
    user.wait("the migration to begin", lambda: user.api("GET", f"/tasks/{task}")["state"] != "PENDING" or None, 30)
    kill_service(user, "node1", service)
    outcome = ended(user, task)
    assert outcome["state"] in ("SUCCESS", "FAILURE")
    assert outcome["state"] == "SUCCESS" or outcome["error"]["message"]
    assert_alive(user, machine)


def test_the_target_daemon_dies_during_a_migration(user: Driver, machine: str) -> None:
    bring_to(user, machine, "node1")
    task = send(user, "POST", f"/vm/{machine}/node?action=migrate&node=node2&force=true")
    kill_service(user, "node2", "pvc-node")
    ended(user, task)
    assert_alive(user, machine)


@pytest.mark.parametrize("service", ["pvc-node", "pvc-control", "libvirtd"])
def test_a_part_dies_during_a_restart(user: Driver, machine: str, service: str) -> None:
    bring_to(user, machine, "node1")
    task = send(user, "POST", f"/vm/{machine}/state?state=restart")
    user.wait("the restart to begin", lambda: user.api("GET", f"/tasks/{task}")["state"] != "PENDING" or None, 30)
    kill_service(user, "node1", service)
    ended(user, task, 90)
    assert_alive(user, machine)


def test_redis_dies_with_tasks_waiting(user: Driver, machine: str) -> None:
    """Its memory is lost with it; the records are not, and the tasks run."""
    kill_service(user, INFRA, "redis")
    task = send(user, "POST", f"/vm/{machine}/tags?action=add&tag=lost")
    assert ended(user, task)["state"] == "SUCCESS"
    assert "lost" in [tag["name"] for tag in user.vm(machine)["tags"]]


def test_a_worker_dies_during_a_copy(user: Driver, machine: str) -> None:
    """The copy is either made anew or taken back; a half one is never left looking whole."""
    task = send(user, "POST", f"/storage/ceph/volume/{POOL}/{machine}/clone?new_volume=copy")
    user.wait("the copy to begin", lambda: user.api("GET", f"/tasks/{task}")["state"] != "PENDING" or None, 30)
    for node in user.cluster.nodes:
        kill_service(user, node, "pvc-bulk")
    outcome = ended(user, task)
    volumes = [volume["name"] for volume in user.json("storage", "volume", "list", "-p", POOL)]
    images = user.on_host("node1", "rbd", "ls", POOL).split()
    assert ("copy" in volumes) == (outcome["state"] == "SUCCESS")
    assert ("copy" in images) == ("copy" in volumes) or outcome["left"]
    if "copy" in volumes:
        user.pvc("storage", "volume", "remove", POOL, "copy", "-y")


def test_zookeeper_restarts_and_no_machine_notices(user: Driver, machine: str) -> None:
    before = {node: user.qemu_pid(node, user.vm(machine)["uuid"]) for node in user.cluster.nodes}
    kill_service(user, INFRA, "zookeeper")
    start = f"/vm/{machine}/state?state=start&wait=true"  # of a machine that runs: changes nothing
    user.wait("the cluster to take writes again", lambda: user.api("POST", start), 60)
    user.wait("the nodes", lambda: all(node["daemon_state"] == "run" for node in user.api("GET", "/node")), 60)
    assert {node: user.qemu_pid(node, user.vm(machine)["uuid"]) for node in user.cluster.nodes} == before


def test_a_node_loses_its_power_and_its_machines_run_elsewhere_until_it_is_ready_again(
    user: Driver, machine: str
) -> None:
    bring_to(user, machine, "node2")
    uuid = user.vm(machine)["uuid"]
    pvc_lab("kill", "node2")
    user.wait("its recovery", lambda: [node for node in ("node1", "node3") if user.qemu_pid(node, uuid)], 60)
    with pytest.raises(LabError, match="node2"):
        user.pvc("vm", "migrate", machine, "-t", "node2")
    pvc_lab("start", "node2")
    user.wait("the end of the fence", lambda: not user.api("GET", "/node/node2")["fence"], 60)
    assert user.api("GET", "/node/node2")["domain_state"] == "flushed"
    assert_alive(user, machine)
    user.pvc("node", "ready", "node2", "-w")
    assert_alive(user, machine)
    assert running_on(user, machine) == ["node2"]


def test_in_maintenance_a_node_that_is_cut_off_is_not_fenced_and_runs_on(user: Driver, machine: str) -> None:
    bring_to(user, machine, "node2")
    pid = user.qemu_pid("node2", user.vm(machine)["uuid"])
    user.pvc("cluster", "maintenance", "on")
    pvc_lab("cut", "node2", "cluster")
    user.wait("the loss to be seen", lambda: user.api("GET", "/node/node2")["daemon_state"] == "dead" or None, 30)
    time.sleep(SAVING_THROW)
    assert user.qemu_pid("node2", user.vm(machine)["uuid"]) == pid
    pvc_lab("heal", "node2", "cluster")
    user.wait("its return", lambda: user.api("GET", "/node/node2")["daemon_state"] == "run" or None, 60)
    user.pvc("cluster", "maintenance", "off")
    assert user.qemu_pid("node2", user.vm(machine)["uuid"]) == pid
    assert_alive(user, machine)


def test_up_again_starts_only_what_is_missing(user: Driver, machine: str) -> None:
    pid = user.qemu_pid(user.vm(machine)["node"], user.vm(machine)["uuid"])
    pvc_lab("up")
    assert user.qemu_pid(user.vm(machine)["node"], user.vm(machine)["uuid"]) == pid


def test_two_who_ask_for_one_machine_at_once(user: Driver, machine: str) -> None:
    """Exactly one is served, the other is told who is at work."""
    bring_to(user, machine, "node1")
    answers: list[str] = []

    def ask() -> None:
        done = subprocess.run(
            [PVC, "-c", user.cluster.name, "vm", "restart", machine, "-y"],
            capture_output=True, text=True,
        )  # fmt: skip
        answers.append("served" if done.returncode == 0 else done.stderr)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer != "served"]
    assert len(refused) == 1, answers
    assert "task" in refused[0]
    assert_alive(user, machine)
