"""Two whole clusters, one of which sends to the other: what dies midway, and what else is asked for meanwhile."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from lab.site import POOL, Site
from pvc_core.state import records
from tests.contract.peers import content
from tests.services.processes import until

SIZE = 12 << 20
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    directory = tmp_path_factory.mktemp("sites")
    west = Site(directory / "west", tls=False)
    try:
        east = Site(directory / "east", tls=False)
        try:
            peer = {"name": "west", "api_uri": west.uri, "token": west.token, "bandwidth": "2M"}
            assert east.ask("POST", "peers", json=peer).ok
            yield east, west
        finally:
            east.close()
    finally:
        west.close()


class Shipment:
    """A machine with two disks and a snapshot, which is sent for some ten seconds."""

    def __init__(self, east: Site, west: Site) -> None:
        self.east, self.west = east, west
        number = next(numbers)
        self.name, self.uuid = f"vm{number}", f"00000000-0000-0000-0000-{number:012}"
        east.define(self.uuid, self.name, (SIZE, SIZE))
        self.disks = [f"{self.name}_disk{disk}" for disk in range(2)]
        for disk in self.disks:
            with east.blocks.open(POOL, disk, writable=True) as image:
                image.write(0, random.Random(disk).randbytes(SIZE - 4096))
        assert east.do("POST", f"vm/{self.name}/snapshot", params={"snapshot_name": "s1"})["state"] == "SUCCESS"
        answer = east.ask("POST", f"vm/{self.name}/snapshot/send", params={"snapshot_name": "s1", "peer": "west"})
        assert answer.status_code == 202, answer.text
        self.task = answer.json()["task_id"]
        until(self.flows, 60)

    def flows(self) -> bool:
        """Whether blocks are on their way into an image."""
        answer = self.west.get(f"vm/{self.uuid}/transfer/s1")
        return answer is not None and any(
            lock.startswith(f"volume:{POOL}:{self.name}_") and held == answer["id"]
            for lock, held in self._locks().items()
        )

    def _locks(self) -> dict[str, str]:
        store = self.west.state
        found = {name: store.find(records.lock(name)) for name in store.store.children(records.LOCKS)}
        return {name: entry.value.task_id for name, entry in found.items() if entry is not None}

    def require_whole(self) -> None:
        task = self.east.wait(self.task)
        assert task["state"] == "SUCCESS", task
        for disk in self.disks:
            assert content(self.west.blocks, disk, "s1") == content(self.east.blocks, disk, "s1")
        assert self.west.get(f"vm/{self.name}")["state"] == "mirror"


@pytest.mark.parametrize(("side", "process"), [("east", "bulk"), ("west", "web"), ("west", "control"), ("east", "web")])
def test_whatever_dies_midway_the_snapshot_arrives_whole(sites: tuple[Site, Site], side: str, process: str) -> None:
    shipment = Shipment(*sites)
    site = sites[side == "west"]
    site.kill(process)
    site.start(process)
    shipment.require_whole()


def test_a_snapshot_stays_while_it_is_sent_and_its_machine_is_free(sites: tuple[Site, Site]) -> None:
    shipment = Shipment(*sites)
    east, _ = sites
    refused = east.ask("DELETE", f"vm/{shipment.name}/snapshot", params={"snapshot_name": "s1"})
    assert refused.status_code == 409, refused.text
    assert "vm.snapshot.send" in refused.json()["message"]
    assert east.do("POST", f"vm/{shipment.name}/tags", params={"action": "add", "tag": "x"})["state"] == "SUCCESS"
    again = east.ask("POST", f"vm/{shipment.name}/snapshot/send", params={"snapshot_name": "s1", "peer": "west"})
    assert again.status_code == 409
    assert shipment.task in again.json()["message"]
    shipment.require_whole()
