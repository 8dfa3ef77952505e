"""Backups by schedule of a machine that writes: whatever dies meanwhile no set restores wrongly, and what lies in a
store elsewhere brings the machine back."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import network
from lab.cluster import INFRA, Cluster
from lab.drive import Driver
from lab.writer import define, pattern_disks
from pvc_core.transfer import unpack
from tests.contract.stores import s3_gateway, sftp_server
from tests.lab.sites import checked, ended, resumed, send, written_now

pytestmark = pytest.mark.soak

POOL, NAME = "stores", "stored"
DISKS = pattern_disks(f"{POOL}/{NAME}")
Store = tuple[str, dict[str, str]]  # URI, credentials


@pytest.fixture(scope="module")
def machine(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    user = Driver(cluster)
    user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
    define(user, tmp_path_factory.mktemp("guest"), f"{POOL}/{NAME}")
    yield NAME
    user.pvc("vm", "remove", NAME, "-y")
    user.pvc("storage", "pool", "remove", POOL, "-y")


@contextmanager
def schedule(user: Driver, name: str, target: str) -> Iterator[None]:
    options = ("--target", target, "--vm", NAME, "--full-interval", "2", "--keep", "last=4")
    user.pvc("schedule", "backup", "add", name, "--when", "30d", *options)
    try:
        yield
    finally:
        user.pvc("schedule", "backup", "remove", name, "-y")


def backups(user: Driver, name: str) -> list[dict[str, Any]]:
    """Those of a schedule, the newest first."""
    return list(user.json("schedule", "backup", "preview", name))


def test_a_worker_that_dies_in_a_backup_leaves_none_that_restores_wrongly(user: Driver, machine: str) -> None:
    place = user.cluster.state.parent / f"{user.cluster.name}-stores"  # all nodes have it in common
    shutil.rmtree(place, ignore_errors=True)  # of tests that were killed
    place.mkdir()
    try:
        with schedule(user, "killed", str(place)):
            for moment in (0.5, 1.5, 2.5, 3.5):
                task = send(user, "POST", "/vm/autobackup?schedule=killed")
                time.sleep(moment)
                shown = user.api("GET", f"/tasks/{task}")["status"]
                for node in user.cluster.nodes:
                    user.on_host(node, "sv", "kill", "pvc-bulk", "pvc-control")
                print(f"killed at {shown!r}: {ended(user, task)['status']}")
            before = written_now(user, machine)
            user.pvc("vm", "autobackup", "-s", "killed")
            whole = [path.parent for path in place.glob(f"{machine}/*/manifest.json")]
            assert {path.name for path in whole} == {backup["backup"] for backup in backups(user, "killed")}
            last = [unpacked(user, path, place) for path in whole]
            assert max(last) >= before
    finally:
        shutil.rmtree(place)


def unpacked(user: Driver, backup: Path, place: Path) -> int:
    """The newest number in a backup, by what reads it without a cluster."""
    outputs = [place / f"{number}.raw" for number in range(len(DISKS))]
    for disk, output in zip(DISKS, outputs, strict=True):
        output.unlink(missing_ok=True)
        unpack.unpack(backup, disk, output)
    return checked(user, *map(str, outputs))


@pytest.fixture(params=["s3", "sftp"])
def store(request: pytest.FixtureRequest, user: Driver, tmp_path: Path) -> Iterator[Store]:
    """A server in the host of the other services."""
    cluster = user.cluster
    address = cluster.address(INFRA, "upstream")
    inside = ["nsenter", f"--net={network.NAMESPACES / network.namespace(cluster, INFRA)}"]
    if request.param == "sftp":
        with sftp_server(tmp_path, address, inside) as found:
            yield found
        return
    before = pools(user)
    with s3_gateway(str(cluster.root(INFRA) / "etc/ceph/ceph.conf"), tmp_path, address, inside) as found:
        yield found
    for pool in pools(user) - before:
        user.on_host(INFRA, "ceph", "osd", "pool", "delete", pool, pool, "--yes-i-really-really-mean-it")


def pools(user: Driver) -> set[str]:
    return set(json.loads(user.on_host(INFRA, "ceph", "osd", "pool", "ls", "--format", "json")))


def test_a_machine_comes_back_from_a_store(user: Driver, machine: str, store: Store, tmp_path: Path) -> None:
    uri, credentials = store
    options = []
    for name, value in credentials.items():
        (tmp_path / name).write_text(value)
        options += ["-c", f"{name}=@{tmp_path / name}"]
    user.pvc("schedule", "target", "add", "outside", "--uri", uri, *options)
    try:
        with schedule(user, "kept", "outside"):
            user.pvc("vm", "autobackup", "-s", "kept")
            before = written_now(user, machine)
            user.pvc("vm", "autobackup", "-s", "kept")
            increment, full = backups(user, "kept")
            assert (increment["parent"], full["parent"]) == (full["backup"], "")
            user.pvc("vm", "remove", machine, "-y")
            user.pvc("vm", "backup", "restore", machine, increment["backup"], "outside")
        last = checked(user, *DISKS)
        assert last >= before
        user.pvc("vm", "start", machine)
        assert resumed(user, last, machine) == last
        written_now(user, machine)
    finally:
        user.pvc("schedule", "target", "remove", "outside", "-y")
