"""A machine that writes is exported, removed and imported again, and no number of its pattern is missing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster import Cluster
from lab.drive import Driver
from lab.errors import LabError
from lab.writer import define, pattern_disks
from pvc_core.transfer import unpack
from tests.lab.sites import checked, ended, written_now

POOL, NAME, NODE = "exports", "exported", "node2"
SYSTEM = f"{POOL}/{NAME}"
PATTERN = pattern_disks(SYSTEM)
NAMES = ("full", "more")


@pytest.fixture(scope="module")
def machine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A machine with three disks, which runs and writes over two of them."""
    user = Driver(cluster)
    user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
    define(user, tmp_path_factory.mktemp("guest"), f"{POOL}/{NAME}", "-l", "node1")  # its console stays there
    yield NAME
    if any(vm["name"] == NAME for vm in user.json("vm", "list")):
        user.pvc("vm", "remove", NAME, "-y")
    user.pvc("storage", "pool", "remove", POOL, "-y")


@pytest.fixture(scope="module")
def store(cluster: Cluster) -> Path:
    """A directory that all nodes have in common, like a mounted share."""
    path = cluster.state / "exports"
    path.mkdir()
    return path


def export(user: Driver, name: str, store: Path, *options: str) -> str:
    user.pvc("vm", "snapshot", "create", NAME, name)
    return user.pvc("vm", "snapshot", "export", NAME, name, str(store), "--node", NODE, *options)


def damage(path: Path) -> bytes:
    """Flip a byte; the content before."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    return content


def content(user: Driver, volume: str) -> str:
    """The SHA-256 of all that is on a volume."""
    return user.on_host(NODE, "sh", "-c", f"rbd export --no-progress {volume} - | sha256sum").split()[0]


def test_a_running_machine_is_exported_fully_and_by_what_differs(user: Driver, machine: str, store: Path) -> None:
    assert "is exported to" in export(user, "full", store)
    written_now(user, NAME, checked(user, *(f"{volume}@full" for volume in PATTERN)))
    export(user, "more", store, "-i", "full", "--verify")
    sizes = {name: sum(file.stat().st_size for file in (store / NAME / name).rglob("*.pvcf")) for name in NAMES}
    assert sizes["more"] < sizes["full"] / 2
    with pytest.raises(LabError, match="already"):
        user.pvc("vm", "snapshot", "export", machine, "more", str(store), "--node", NODE)


def test_a_disk_is_unpacked_without_the_cluster(user: Driver, machine: str, store: Path) -> None:
    outputs = [str(store / f"{number}.raw") for number in range(len(PATTERN))]
    for volume, output in zip(PATTERN, outputs, strict=True):
        unpack.unpack(store / NAME / "more", volume, Path(output))
    assert checked(user, *outputs) == checked(user, *(f"{volume}@more" for volume in PATTERN))


def test_a_machine_is_imported_from_an_increment_and_goes_on_where_it_was(
    user: Driver, machine: str, store: Path
) -> None:
    last = checked(user, *(f"{volume}@more" for volume in PATTERN))
    written_now(user, NAME, last)
    uuid = user.vm(machine)["uuid"]
    with pytest.raises(LabError, match="there is a VM exported already"):
        user.pvc("vm", "snapshot", "import", machine, "more", str(store), "--node", NODE)
    for name in NAMES:
        user.pvc("vm", "snapshot", "remove", machine, name, "-y")
    user.pvc("vm", "remove", machine, "-y")
    path = store / NAME / "full" / f"{PATTERN[1]}.pvcf"
    content = damage(path)
    with pytest.raises(LabError, match=rf"disk {PATTERN[1]} in .*the block at byte \d+ of the disk is not what"):
        user.pvc("vm", "snapshot", "import", machine, "more", str(store), "--node", NODE)
    assert user.json("storage", "volume", "list", "-p", POOL) == []
    path.write_bytes(content)
    user.pvc("vm", "snapshot", "import", machine, "more", str(store), "--node", NODE)
    assert (user.vm(machine)["uuid"], user.vm(machine)["state"]) == (uuid, "stop")
    assert checked(user, *PATTERN) == last
    mark = user.console_mark(machine)
    user.pvc("vm", "start", machine)
    assert int(user.wait_console(machine, r"pattern continues after (\d+)", after=mark)[1]) == last
    assert user.wait_console(machine, r"(\d+) lines on disk, (\d+) gaps", after=mark)[2] == "0"


def test_a_later_increment_goes_on_from_the_imported_snapshots(user: Driver, machine: str, store: Path) -> None:
    written_now(user, NAME)
    export(user, "later", store, "-i", "more")
    then = checked(user, *(f"{volume}@later" for volume in PATTERN))
    assert {snapshot["name"] for snapshot in user.json("vm", "snapshot", "list", machine)} == {"full", "more", "later"}
    for name in ("full", "more", "later"):
        user.pvc("vm", "snapshot", "remove", machine, name, "-y")
    user.pvc("vm", "remove", machine, "-y")
    user.pvc("vm", "snapshot", "import", machine, "later", str(store), "--node", NODE, "-R")
    assert checked(user, *PATTERN) == then
    assert user.json("vm", "snapshot", "list", machine) == []


@pytest.mark.parametrize("moment", [0.3, 0.8, 1.5])
def test_an_import_whose_worker_is_killed_at_any_moment_is_completed(
    user: Driver, machine: str, store: Path, tmp_path: Path, moment: float
) -> None:
    user.pvc("vm", "remove", machine, "-y")
    query = f"snapshot_name=later&import_path={store}&node={NODE}&retain_snapshot=false"
    task = user.api("POST", f"/vm/{machine}/snapshot/import?{query}")["task_id"]
    time.sleep(moment)
    user.on_host(NODE, "sv", "kill", "pvc-bulk")

    outcome = ended(user, task)
    assert outcome["state"] == "SUCCESS", outcome["status"]
    checked(user, *PATTERN)
    unpack.unpack(store / NAME / "later", SYSTEM, tmp_path / "system.raw")
    assert content(user, SYSTEM) == hashlib.sha256((tmp_path / "system.raw").read_bytes()).hexdigest()
    mark = user.console_mark(machine)
    user.pvc("vm", "start", machine)
    user.wait_console(machine, r"pattern continues after \d+", after=mark)


def test_the_older_backup_commands_do_the_same(user: Driver, machine: str, store: Path) -> None:
    written_now(user, NAME)
    place = (str(store / "older"), "--node", NODE)
    first = user.api("POST", f"/vm/{machine}/backup?backup_path={place[0]}&node={NODE}&retain_snapshot=true")
    assert "Backup 20" in first["message"]
    names = sorted(path.name for path in (store / "older" / NAME).iterdir())
    written_now(user, NAME)
    user.pvc("vm", "backup", "create", machine, *place, "-i", names[0])
    increment = max(path.name for path in (store / "older" / NAME).iterdir())
    with pytest.raises(LabError, match="need it"):
        user.pvc("vm", "backup", "remove", machine, names[0], *place)
    user.pvc("vm", "snapshot", "remove", machine, names[0], "-y")
    user.pvc("vm", "remove", machine, "-y")
    user.pvc("vm", "backup", "restore", machine, increment, *place)
    checked(user, *PATTERN)
    for name in (increment, names[0]):
        user.pvc("vm", "backup", "remove", machine, name, *place)
    assert not list((store / "older").iterdir())
