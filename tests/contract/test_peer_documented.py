"""The documented calls of a real server with Ceph: with Ceph's own program at the other end, and with ours."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.site import POOL, Site
from pvc_core.drivers.peers import HttpPeer
from pvc_core.errors import Conflict, Failed
from pvc_core.fakes.peers import FakePeers
from pvc_core.model.mirror import Lineage, Promotion
from pvc_core.model.vm import VmState
from pvc_core.ops import shipping
from pvc_core.transfer import plain
from pvc_core.transfer.images import read_frames
from tests.contract.conftest import REAL
from tests.contract.peers import EAST, SitePeerWorld, content, state_of
from tests.contract.test_peer import MIB, SIZE, Machine
from tests.unit.ops.house import xml

pytestmark = REAL
UUID = "00000000-0000-0000-0000-0000000000aa"


class OldPeer(HttpPeer):
    """The other side as if it knew none of our own calls."""

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        return super()._request(method, path.replace("/transfer", "/no-such-call"), **options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("sites") / "west", tls=False)
    yield found
    found.close()


@pytest.fixture
def west(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePeerWorld]:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    found = SitePeerWorld(tmp_path, site)
    found.east.peers = FakePeers({"west": OldPeer("west", found.access(), lambda: EAST, lambda: False, 0.0)})
    yield found
    found.close()


class Sender:
    """A peer that has a disk in Ceph, and knows ``rbd`` and HTTP."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.blocks.create(POOL, "source", SIZE)

    def rbd(self, *arguments: str, stream: bytes = b"") -> bytes:
        command = ("rbd", "-c", str(self.site.services.ceph_config), "--no-progress", *arguments)
        return subprocess.run(command, input=stream, check=True, capture_output=True).stdout

    def write(self, *places: int) -> None:
        with self.site.blocks.open(POOL, "source", writable=True) as image:
            for place in places:
                image.write(place, f"written at {place}".encode() * 5000)

    def call(self, method: str, what: str, body: bytes = b"", **arguments: Any) -> requests.Response:
        path = f"vm/{UUID}/snapshot/receive/{what}"
        kind = {"Content-Type": "application/octet-stream"} if what == "block" else {"Content-Type": "application/json"}
        headers = {"X-Api-Key": self.site.token} | kind
        arguments = {"pool": POOL, "volume": "copy"} | arguments
        return requests.request(
            method, f"{self.site.uri}/{path}", params=arguments, data=body, headers=headers, timeout=90
        )

    def complete(self, snapshot: str, **arguments: Any) -> requests.Response:
        taken = {"vm": UUID, "name": snapshot, "created": 1.5, "quiesced": "off"}
        taken["disks"] = [{"volume": f"{POOL}/copy", "size": SIZE}]
        config = {"name": "copied", "xml": xml("copied", uuid=UUID, disks=(f"{POOL}/copy",))}
        body = json.dumps({"taken": taken, "config": config}).encode()
        assert self.call("PATCH", "block", snapshot=snapshot).ok
        return self.call("POST", "config", body, snapshot=snapshot, size=SIZE, **arguments)


def test_a_peer_with_nothing_but_rbd_and_http_sends_a_machine(site: Site) -> None:
    sender = Sender(site)
    sender.write(0, 5 * MIB)
    site.blocks.create_snapshot(POOL, "source", "s1")
    whole = sender.rbd("export", f"{POOL}/source@s1", "-")

    early = sender.call("POST", "block", whole[:-1], snapshot="s1", size=SIZE)
    assert (early.status_code, early.json()["code"]) == (502, "damaged")
    assert sender.call("PATCH", "block", snapshot="s1").status_code == 409
    sent = sender.call("POST", "block", whole, snapshot="s1", size=SIZE)
    assert sent.ok, sent.text
    assert site.get(f"vm/{UUID}") is None
    done = sender.complete("s1")
    assert done.ok, done.text
    assert site.get(f"vm/{UUID}")["state"] == "mirror"
    assert content(site.blocks, "copy", "s1") == whole

    sender.write(MIB, 7 * MIB)
    site.blocks.create_snapshot(POOL, "source", "s2")
    differs = sender.rbd("export-diff", "--from-snap", "s1", f"{POOL}/source@s2", "-")
    assert len(differs) < SIZE / 2
    cut = sender.call("PUT", "block", differs[:-1], snapshot="s2", source_snapshot="s1")
    assert cut.json()["code"] == "damaged"
    sent = sender.call("PUT", "block", differs, snapshot="s2", source_snapshot="s1")
    assert sent.ok, sent.text
    done = sender.complete("s2", source_snapshot="s1")
    assert done.ok, done.text
    assert content(site.blocks, "copy", "s2") == content(site.blocks, "source", "s2") != whole
    assert content(site.blocks, "copy", "s1") == whole

    refused = sender.call("POST", "block", whole, snapshot="s3", size=SIZE, volume="source")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), refused.text


def test_ceph_takes_the_differences_that_we_write(site: Site) -> None:
    blocks = site.blocks
    blocks.create(POOL, "written", SIZE)
    with blocks.open(POOL, "written", writable=True) as image:
        image.write(0, b"a" * MIB)
    blocks.create_snapshot(POOL, "written", "s1")
    blocks.clone(POOL, "written", "read", lambda *_: None, lambda: False)
    blocks.create_snapshot(POOL, "read", "s1")
    with blocks.open(POOL, "written", writable=True) as image:
        image.zero(0, MIB)
        image.write(6 * MIB, b"b" * 5000)
    blocks.resize(POOL, "written", SIZE + MIB)
    blocks.create_snapshot(POOL, "written", "s2")
    with blocks.open(POOL, "written", snapshot="s2") as image:
        stream = b"".join(plain.write_diff(read_frames(image, "s1"), "s1", "s2", image.size))
    command = ("rbd", "-c", str(site.services.ceph_config), "import-diff", "--no-progress", "-", f"{POOL}/read")
    subprocess.run(command, input=stream, check=True, capture_output=True)
    assert content(blocks, "read", "s2") == content(blocks, "written", "s2")


def test_where_our_calls_are_unknown_a_machine_is_sent_by_the_documented_ones(west: SitePeerWorld) -> None:
    machine = Machine(west)
    machine.write(1)
    whole = machine.take("s1")
    west.cuts += [3 * MIB]
    machine.send("s1")
    assert state_of(west, machine.uuid) is VmState.MIRROR
    assert machine.arrived("s1") == whole
    machine.write(2)
    differs, before = machine.take("s2"), west.passed
    west.cuts += [200_000]
    machine.send("s2", "s1")
    assert machine.arrived("s2") == differs
    assert west.passed - before < 4 * MIB
    before = west.passed
    machine.send("s2", "s1")  # is there already
    assert west.passed - before < 20_000


def test_what_the_other_side_refuses_is_said_and_a_mirror_is_not_kept_there(west: SitePeerWorld) -> None:
    machine = Machine(west)
    machine.take("s1")
    west.site.define(machine.uuid, "stands-in-the-way", (MIB,))
    with pytest.raises(Failed, match="stands-in-the-way is here already, in state stop"):
        machine.send("s1")
    lineage = Lineage((Promotion(1, EAST, "s1", False, 1.0),))
    with pytest.raises(Conflict, match="and no mirrors of this version"):
        west.peer().begin(replace(machine.offer("s1"), lineage=lineage))
