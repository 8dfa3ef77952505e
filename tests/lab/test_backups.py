"""Backups by schedule of a machine that runs: made, encrypted, seen to restore and boot, restored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from lab import guest
from lab.drive import Driver

POOL, VM = "backups", "backed"
SCHEDULE = "lab"


@pytest.fixture
def place(user: Driver) -> Iterator[Path]:
    """A directory that all nodes of the lab share."""
    directory = user.cluster.state.parent / f"{user.cluster.name}-backups"
    shutil.rmtree(directory, ignore_errors=True)  # of tests that were killed
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def machine(user: Driver) -> Iterator[str]:
    user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
    with tempfile.TemporaryDirectory() as directory:
        image, xml = Path(directory) / "guest.raw", Path(directory) / "guest.xml"
        guest.build(image)
        user.pvc("storage", "volume", "add", POOL, VM, f"{guest.SIZE_MIB}M")
        user.pvc("storage", "volume", "upload", POOL, VM, str(image), "-f", "raw")
        xml.write_text(guest.guest_xml(VM, f"{POOL}/{VM}"))
        user.pvc("vm", "define", str(xml), "-t", "node1", "-g", "kept")
    user.pvc("vm", "start", VM)
    user.wait_console(VM, r"count \d+", timeout=240)
    yield VM
    if VM in [vm["name"] for vm in user.json("vm", "list")]:
        user.pvc("vm", "remove", VM, "-y")
    user.pvc("storage", "pool", "remove", POOL, "-y")


@pytest.mark.timeout(1200)
def test_backups_by_schedule_restore_and_boot(user: Driver, machine: str, place: Path) -> None:
    identity, key = pyrage.x25519.Identity.generate(), str(place / "identity")
    Path(key).write_text(str(identity))
    options = ["--target", str(place), "--tag", "kept", "--full-interval", "3", "--keep", "last=3", "--verify"]
    options += ["--recipient", str(identity.to_public()), "--identity-file", key]
    test = ["--test-when", "30d", "--test-sign", "console", "--test-argument", r"count \d+", "--test-timeout", "240"]
    user.pvc("schedule", "backup", "add", SCHEDULE, "--when", "1m", *options, *test)
    try:
        user.wait("two backups of the schedule itself", lambda: len(_backups(place)) >= 2, 240)
        user.pvc("schedule", "backup", "modify", SCHEDULE, "--disabled")
        user.wait("the end of the last one", lambda: not _running(user), 240)
        kinds = [row["parent"] for row in user.json("schedule", "backup", "preview", SCHEDULE)]
        assert "" in kinds
        assert any(kinds)
        user.pvc("schedule", "backup", "test", SCHEDULE, timeout=600)
        (result,) = user.json("schedule", "backup", "tests", SCHEDULE)
        assert result["passed"]
        assert [vm["name"] for vm in user.json("vm", "list")] == [machine]

        counted = int(user.wait_console(machine, r"(?s).*count (\d+)")[1])
        newest = _backups(place)[-1]
        user.pvc("vm", "remove", machine, "-y")
        user.pvc("vm", "backup", "restore", machine, newest, str(place), "--identity-file", key, timeout=600)
        user.pvc("vm", "start", machine)
        found = user.wait_console(machine, r"check (\d+) lines on disk, (\d+) gaps", timeout=240)
        assert (0 < int(found[1]) <= counted, found[2]) == (True, "0")
    finally:
        user.pvc("schedule", "backup", "remove", SCHEDULE, "-y")


def _backups(place: Path) -> list[str]:
    return sorted(path.parent.name for path in place.glob(f"{VM}/*/manifest.json"))


def _running(user: Driver) -> bool:
    tasks = user.api("GET", "/tasks?limit=50")["tasks"]
    ours = [task for task in tasks if task["task_name"].startswith("vm.autobackup")]
    return any(task["state"] in ("RUNNING", "PENDING") for task in ours)
