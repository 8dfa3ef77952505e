"""Snapshots of a machine that writes: all its disks at one moment, and it goes on whatever dies meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import guest, namespaces
from lab.cluster import Cluster
from lab.drive import Driver
from lab.errors import LabError
from lab.writer import BLOCK_KIB, define, pattern_disks
from tests.lab.sites import checked, ended, written_now

POOL, NAME = "snaps", "writer"
PATTERN = pattern_disks(f"{POOL}/{NAME}")


@pytest.fixture(scope="module")
def machine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A machine with three disks and an agent, which runs on node1 and writes over two of them."""
    user = Driver(cluster)
    user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
    define(user, tmp_path_factory.mktemp("guest"), f"{POOL}/{NAME}", agent=True)
    yield NAME
    user.pvc("vm", "remove", NAME, "-y")
    user.pvc("storage", "pool", "remove", POOL, "-y")


def check(user: Driver, snapshot: str = "") -> int:
    """The newest number of the pattern; fails when the disks are not of one moment."""
    images = [f"{volume}@{snapshot}" if snapshot else volume for volume in PATTERN]
    return checked(user, *images)


def snapshots(user: Driver) -> dict[str, dict[str, Any]]:
    return {snapshot["name"]: snapshot for snapshot in user.json("vm", "snapshot", "list", NAME)}


def domain_state(user: Driver) -> str:
    return user.on_host("node1", "virsh", "domstate", NAME).strip()


def take(user: Driver, name: str) -> dict[str, Any]:
    """A snapshot of the machine while it writes, checked, as the API shows it."""
    before = written_now(user, NAME)
    task = user.api("POST", f"/vm/{NAME}/snapshot?snapshot_name={name}")["task_id"]
    outcome = ended(user, task)
    assert outcome["state"] == "SUCCESS", outcome
    print(outcome["result"]["message"])
    last = check(user, name)
    assert last >= before
    written_now(user, NAME, last)
    return snapshots(user)[name]


def test_a_guest_with_an_agent_is_frozen_for_a_snapshot(user: Driver, machine: str) -> None:
    taken = take(user, "quiet")
    assert (taken["quiesced"], len(taken["rbd_snapshots"])) == ("guest", 3)
    user.wait_console(machine, "guest: thawed")


def test_without_an_agent_all_disks_of_a_snapshot_are_of_one_moment(user: Driver, machine: str) -> None:
    user.pvc("vm", "stop", machine, "-y")
    xml = guest.guest_xml(NAME, f"{POOL}/{NAME}", pattern=PATTERN, block_kib=BLOCK_KIB, uuid=user.vm(machine)["uuid"])
    user.api("PUT", f"/vm/{machine}", {"xml": xml})
    user.pvc("vm", "start", machine)
    assert take(user, "still")["quiesced"] == "paused"


def test_a_rollback_brings_back_the_disks_and_the_configuration(user: Driver, machine: str) -> None:
    then = check(user, "quiet")
    assert any("guest_agent" in line for line in snapshots(user)["quiet"]["xml_diff_lines"])
    written_now(user, NAME, then)
    with pytest.raises(LabError, match="is not stopped"):
        user.pvc("vm", "snapshot", "rollback", machine, "quiet", "-y")
    user.pvc("vm", "stop", machine, "-y")
    user.pvc("vm", "snapshot", "rollback", machine, "quiet", "-y")
    assert check(user) == then
    assert "guest_agent" in user.vm(machine)["xml"]
    mark = user.console_mark(machine)
    user.pvc("vm", "start", machine)
    assert int(user.wait_console(machine, r"pattern continues after (\d+)", after=mark)[1]) == then
    assert user.wait_console(machine, r"(\d+) lines on disk, (\d+) gaps", after=mark)[2] == "0"


@contextmanager
def deadly(user: Driver) -> Iterator[None]:
    """Kill the worker of node1 as soon as the machine stands still, within this block."""
    kill = f"virsh event --domain {NAME} --event lifecycle --timeout 60 && sv kill pvc-control && virsh domstate {NAME}"
    argv = namespaces.enter(user.cluster, "node1", ["sh", "-c", kill])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as killer:
        user.wait("virsh to listen", lambda: "virsh event" in user.on_host("node1", "ps", "-eo", "args"), 10)
        yield
        shown, _ = killer.communicate(timeout=90)
    assert "Suspended" in shown
    assert "paused" in shown.splitlines(), "it was killed too late to leave the machine standing"


def test_a_machine_goes_on_when_the_worker_dies_that_held_it(user: Driver, machine: str) -> None:
    with deadly(user):
        task = user.api("POST", f"/vm/{machine}/snapshot?snapshot_name=killed")["task_id"]
    user.wait("the machine to go on", lambda: domain_state(user) == "running", 40)
    outcome = ended(user, task)
    assert outcome["state"] == "SUCCESS", outcome["status"]
    assert domain_state(user) == "running"
    written_now(user, NAME, check(user, "killed"))
    assert user.wait_console(machine, r"(\d+) lines on disk, (\d+) gaps", after=user.console_mark(machine))[2] == "0"


def test_snapshots_are_removed_with_those_of_their_disks(user: Driver, machine: str) -> None:
    for name in snapshots(user):
        user.pvc("vm", "snapshot", "remove", machine, name, "-y")
    assert snapshots(user) == {}
    volumes = user.json("storage", "volume", "list", "-p", POOL)
    assert [volume["stats"]["snapshot_count"] for volume in volumes] == [0, 0, 0]
