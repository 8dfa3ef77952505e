"""Raw images from a client into a volume of a real Ceph, and the volume's snapshots, on a cluster without nodes."""

from __future__ import annotations

import http.client
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.site import POOL, Site
from tests.services.processes import until

MIB = 1024**2
IMAGE = os.urandom(6 * MIB) + bytes(6 * MIB) + os.urandom(5 * MIB + 512)
KINDS = {"Content-Type": "application/octet-stream"}
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site") / "west", tls=False)
    yield site
    site.close()


@pytest.fixture
def volume(site: Site) -> str:
    """An empty volume of 20 MiB."""
    name = f"disk{next(numbers)}"
    task = site.do("POST", f"storage/ceph/volume/{POOL}/{name}", json={"size": "20M"})
    assert task["state"] == "SUCCESS", task
    return name


def content(site: Site, volume: str) -> bytes:
    with site.blocks.open(POOL, volume) as image:
        return image.read(0, image.size)


def spooled(site: Site) -> list[Path]:
    return list(Path(site.config.daemon.spool_directory).iterdir())


def upload(site: Site, volume: str, image: bytes = IMAGE) -> Any:
    path = f"storage/ceph/volume/{POOL}/{volume}/upload?image_format=raw"
    return site.ask("POST", path, data=image)


class Sender:
    """A client that has sent a part of its image."""

    def __init__(self, site: Site, volume: str, part: int) -> None:
        self._site = site
        self._connection = http.client.HTTPConnection(site.listen, timeout=120)
        self._connection.putrequest("POST", f"/api/v1/storage/ceph/volume/{POOL}/{volume}/upload?image_format=raw")
        for name, value in (KINDS | {"X-Api-Key": site.token, "Content-Length": str(len(IMAGE))}).items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        self._connection.send(IMAGE[:part])
        until(lambda: self.task()["status"].startswith("Writing"), 60)

    def task(self) -> Any:
        """The upload that goes on."""
        for task in self._site.get("tasks")["tasks"]:
            if task["name"] == "volume.upload" and not task["ended"]:
                return task
        return {"status": ""}

    def end(self, rest: bytes) -> int:
        """Send more, and hear the answer."""
        self._connection.send(rest)
        return self._connection.getresponse().status

    def close(self) -> None:
        self._connection.close()


def test_a_raw_image_reaches_the_volume_with_no_copy_on_disk(site: Site, volume: str) -> None:
    sender = Sender(site, volume, 4 * MIB)
    assert [path for path in spooled(site) if path.is_file()] == []
    assert sender.end(IMAGE[4 * MIB :]) == 200
    assert content(site, volume) == IMAGE.ljust(20 * MIB, b"\0")
    assert spooled(site) == []


def test_a_rollback_brings_the_first_image_back(site: Site, volume: str) -> None:
    assert upload(site, volume).ok
    snapshot = f"storage/ceph/snapshot/{POOL}/{volume}/first"
    assert site.do("POST", snapshot)["state"] == "SUCCESS"
    assert upload(site, volume, os.urandom(18 * MIB)).ok
    assert content(site, volume)[: len(IMAGE)] != IMAGE
    task = site.do("POST", f"{snapshot}/rollback")
    assert task["state"] == "SUCCESS", task
    assert content(site, volume) == IMAGE.ljust(20 * MIB, b"\0")
    refusal = site.ask("DELETE", f"storage/ceph/volume/{POOL}/{volume}")
    assert "has snapshots (first)" in refusal.json()["message"]
    assert site.do("DELETE", snapshot)["state"] == "SUCCESS"
    assert site.do("DELETE", f"storage/ceph/volume/{POOL}/{volume}")["state"] == "SUCCESS"


@pytest.mark.parametrize("who", ["client", "web", "bulk"])
def test_whoever_ends_midway_an_upload_fails_and_can_be_sent_again(site: Site, volume: str, who: str) -> None:
    sender = Sender(site, volume, 9 * MIB)
    task = sender.task()["id"]
    if who == "client":
        sender.close()
    else:
        site.kill(who)
        site.start(who)
        sender.close()
        until(lambda: site.get("vm") is not None)
    ended = site.wait(task)
    assert ended["state"] == "FAILURE", ended
    assert any(f"volume {POOL}/{volume} holds a part of the image" in left for left in ended["left"]), ended
    until(lambda: site.blocks.watchers(POOL, volume) == [], 60)
    assert upload(site, volume).ok
    assert content(site, volume) == IMAGE.ljust(20 * MIB, b"\0")


def test_an_image_that_is_too_large_is_refused_while_it_is_sent(site: Site, volume: str) -> None:
    answer = upload(site, volume, os.urandom(21 * MIB))
    assert answer.status_code == 409, answer.text
    assert "has 20971520: grow it first" in answer.json()["message"]
    assert content(site, volume) == bytes(20 * MIB)
