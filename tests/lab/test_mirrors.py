"""One machine at two sites: sent over a line that is cut, handed over, taken by force, and brought together again. What
it writes is numbered, so that each copy shows what it lacks."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import guest, link
from lab.cluster import Cluster
from lab.drive import Driver
from lab.errors import LabError
from lab.link import Link
from tests.lab.conftest import standing
from tests.lab.test_kills import ended, send

WEST = "citestw"
NAME, POOL = "traveller", "travel"
DISKS = (f"{POOL}/{NAME}-p0", f"{POOL}/{NAME}-p1")
DISK_MIB, BLOCK_KIB = 32, 64
HTTPS_PORT = 7443


@dataclass
class Sites:
    east: Driver
    west: Driver
    line: Link


def address(cluster: Cluster) -> str:
    return f"https://{cluster.floating('upstream').partition('/')[0]}:{HTTPS_PORT}/api/v1"


def introduce(to: Driver, name: str, other: Cluster) -> None:
    """Make the other cluster known. The name is none of a connection of the command's, which goes another way."""
    to.pvc("peer", "add", name, "-a", address(other), "-k", f"@{other.token_file}")


@pytest.fixture(scope="module")
def sites(cluster: Cluster) -> Iterator[Sites]:
    with standing(WEST, Path(os.environ["PVC_CLIENT_DIR"])) as other:
        east, west = Driver(cluster), Driver(other)
        line = link.between(cluster, other)
        line.up()
        try:
            introduce(east, "west", other)
            introduce(west, "east", cluster)
            for site in (east, west):
                site.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
            yield Sites(east, west, line)
            east.pvc("peer", "remove", "west", "-y")
        finally:
            line.down()


@pytest.fixture(scope="module")
def traveller(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A machine that runs in the east and writes its pattern; the tests pass it on."""
    east, image = sites.east, tmp_path_factory.mktemp("guest") / "guest.raw"
    guest.build(image)
    east.pvc("storage", "volume", "add", POOL, NAME, f"{guest.SIZE_MIB}M")
    east.pvc("storage", "volume", "upload", POOL, NAME, str(image), "-f", "raw")
    for disk in DISKS:
        east.pvc("storage", "volume", "add", *disk.split("/"), f"{DISK_MIB}M")
    xml = image.with_suffix(".xml")
    xml.write_text(guest.guest_xml(NAME, f"{POOL}/{NAME}", pattern=DISKS, block_kib=BLOCK_KIB))
    east.pvc("vm", "define", str(xml), "-t", "node1")
    east.pvc("vm", "start", NAME)
    written(east)
    yield NAME
    east.pvc("vm", "mirror", "remove", NAME, "-y")
    east.pvc("vm", "remove", NAME, "-y")


def written(site: Driver, after: str = "") -> int:
    """A number that the machine has written and synced, after the console's line ``after``."""
    return int(site.wait_console(NAME, r"guest: pattern (\d+)$", after=after)[1])


def continued(site: Driver, after: str) -> int:
    """The last number on the machine's disks when it was started, after the console's line ``after``."""
    return int(site.wait_console(NAME, r"guest: pattern continues after (\d+),", after=after)[1])


def copied(site: Driver, snapshot: str) -> int:
    """The last number in a snapshot, whose disks are whole and of one moment."""
    images = [f"{disk}@{snapshot}" for disk in DISKS]
    found = site.json_on("node1", sys.executable, "-m", "lab.pattern", "--block", str(BLOCK_KIB), *images)
    assert found["wrong"] == []
    return int(found["last"])


def mirror(site: Driver) -> dict[str, Any]:
    return dict(site.vm(NAME)["mirror"])


def brought_up_to_date(site: Driver, other: Driver) -> None:
    """The other site has, whole, all that was written before the call."""
    before = written(site, after=site.last_line(NAME))
    site.pvc("vm", "mirror", "create", NAME, "west" if other.cluster.name == WEST else "east")
    assert copied(other, mirror(other)["snapshot"]) >= before


def test_a_mirror_has_all_disks_of_one_moment_and_is_not_started(sites: Sites, traveller: str) -> None:
    brought_up_to_date(sites.east, sites.west)
    brought_up_to_date(sites.east, sites.west)
    there = sites.west.vm(traveller)
    assert there["state"] == "mirror"
    assert there["mirror"]["role"] == "secondary"
    with pytest.raises(LabError, match="mirror"):
        sites.west.pvc("vm", "start", traveller)


def test_a_transfer_goes_on_after_the_line_was_cut(sites: Sites, traveller: str) -> None:
    sites.line.set_rate(8e6)
    mender = threading.Timer(8.0, sites.line.set_cut, (False,))
    try:
        before = written(sites.east, after=sites.east.last_line(traveller))
        task = send(sites.east, "POST", f"/vm/{traveller}/mirror/create")
        sites.east.wait("blocks on the line", lambda: "%" in sites.east.api("GET", f"/tasks/{task}")["status"], 60)
        sites.line.set_cut(True)
        mender.start()
        outcome = ended(sites.east, task, 120)
    finally:
        mender.cancel()
        sites.line.set_cut(False)
        sites.line.set_rate(0)
    assert outcome["state"] == "SUCCESS", outcome
    assert copied(sites.west, mirror(sites.west)["snapshot"]) >= before


@pytest.mark.parametrize("service", ["pvc-bulk", "pvc-web", "redis"])
def test_a_part_of_the_receiver_dies_during_a_transfer(sites: Sites, traveller: str, service: str) -> None:
    before = written(sites.east, after=sites.east.last_line(traveller))
    task = send(sites.east, "POST", f"/vm/{traveller}/mirror/create")
    sites.east.wait("the transfer", lambda: sites.east.api("GET", f"/tasks/{task}")["state"] != "PENDING" or None, 30)
    for host in ("infra",) if service == "redis" else sites.west.cluster.nodes:
        sites.west.on_host(host, "sv", "kill", service)
    assert ended(sites.east, task, 180)["state"] == "SUCCESS"
    assert copied(sites.west, mirror(sites.west)["snapshot"]) >= before


def test_a_machine_that_is_handed_over_loses_nothing_and_can_come_back(sites: Sites, traveller: str) -> None:
    for source, target in ((sites.east, sites.west), (sites.west, sites.east)):
        before = written(source, after=source.last_line(traveller))
        earlier = target.last_line(traveller) if target is sites.east else ""  # it has never run in the west
        source.pvc("vm", "mirror", "promote", traveller, "-y")
        target.wait_state(traveller, "start")
        assert continued(target, earlier) >= before
        assert source.vm(traveller)["state"] == "mirror"
        assert source.vm(traveller)["mirror"]["role"] == "secondary"
        written(target, earlier)


def test_a_site_that_was_lost_follows_the_one_that_was_promoted_by_force(sites: Sites, traveller: str) -> None:
    brought_up_to_date(sites.east, sites.west)
    base = mirror(sites.west)["snapshot"]
    sites.line.set_cut(True)
    try:
        lost = written(sites.east, after=sites.east.last_line(traveller))
        sites.east.pvc("vm", "stop", traveller, "-y")
        earlier = sites.west.last_line(traveller)
        told = sites.west.pvc("vm", "mirror", "promote", traveller, "--force", "-y")
        assert continued(sites.west, earlier) == copied(sites.west, base) < lost, told
    finally:
        sites.line.set_cut(False)
    sites.east.wait("it to hear that", lambda: mirror(sites.east)["role"] == "superseded" or None, 60)
    with pytest.raises(LabError, match="promoted"):
        sites.east.pvc("vm", "start", traveller)
    sites.east.wait("the fault", lambda: "was promoted by force" in json.dumps(sites.east.api("GET", "/faults")), 30)
    sites.east.pvc("vm", "mirror", "resync", traveller, "-y")
    kept = [one["name"] for one in sites.east.vm(traveller)["snapshots"] if one["name"].startswith("kept-")]
    assert copied(sites.east, kept[0]) >= lost
    brought_up_to_date(sites.west, sites.east)
    sites.west.pvc("vm", "mirror", "promote", traveller, "-y")
    sites.east.wait_state(traveller, "start")
