"""Another cluster as a peer: in memory, and over HTTPS to its web server and its Ceph."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.site import Site
from pvc_core.drivers.peers import Limit
from pvc_core.errors import BadRequest, Conflict, DriverError, Failed, Forbidden, NotFound
from pvc_core.model.vm import VmState
from pvc_core.ops import shipping
from pvc_core.ops.vm_send import VmSnapshotSend
from pvc_core.ops.vm_snapshot import VmSnapshotCreate
from pvc_core.ports import Offer
from pvc_core.state import records
from pvc_core.transfer import images
from pvc_core.transfer.frames import Frame, encode
from tests.contract.conftest import REAL
from tests.contract.peers import FakePeerWorld, PeerWorld, SitePeerWorld, content, state_of
from tests.services.processes import until

MIB = 1 << 20
SIZE = 8 * MIB

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("sites") / "west")
    yield found
    found.close()


@pytest.fixture(params=["fake", pytest.param("site", marks=REAL)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerWorld]:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(images, "FLUSH_EVERY", MIB)
    if request.param == "fake":
        yield FakePeerWorld(tmp_path)
        return
    found = SitePeerWorld(tmp_path, request.getfixturevalue("site"))
    yield found
    found.close()


@pytest.fixture
def west(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePeerWorld]:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    found = SitePeerWorld(tmp_path, site)
    yield found
    found.close()


class Machine:
    """A machine of the sending side, with one disk."""

    def __init__(self, world: PeerWorld) -> None:
        self.world = world
        number = next(numbers)
        self.uuid = world.east.define(number)
        self.disk = f"disk{number}"
        world.east.blocks.resize("vms", self.disk, SIZE)

    def write(self, seed: int) -> None:
        chosen = random.Random(seed)
        with self.world.east.blocks.open("vms", self.disk, writable=True) as image:
            for _ in range(12):
                image.write(chosen.randrange(SIZE // 65536) * 65536, chosen.randbytes(65536))
            image.zero(chosen.randrange(7) * MIB, MIB)

    def take(self, name: str) -> bytes:
        self.world.east.lab.clock.advance(60)
        self.world.east.run(VmSnapshotCreate(self.uuid, name))
        return content(self.world.east.blocks, self.disk, name)

    def send(self, name: str, parent: str = "") -> None:
        self.world.east.run(VmSnapshotSend(self.uuid, name, "west", parent))

    def offer(self, name: str) -> Offer:
        taken = self.world.east.view.snapshot().vm_snapshots[self.uuid][name]
        config = self.world.east.state.get(records.vm_snapshot_config(self.uuid, name)).value
        return Offer(self.uuid, taken, config, taken.disks)

    def arrived(self, name: str) -> bytes:
        return content(self.world.blocks, self.disk, name)


@pytest.fixture
def machine(world: PeerWorld) -> Machine:
    found = Machine(world)
    found.write(1)
    return found


def test_a_snapshot_arrives_with_its_machine_as_a_mirror(world: PeerWorld, machine: Machine) -> None:
    whole = machine.take("s1")
    machine.send("s1")
    assert state_of(world, machine.uuid) is VmState.MIRROR
    assert machine.arrived("s1") == whole
    assert [one.name for one in world.peer().snapshots(machine.uuid)] == ["s1"]
    machine.write(2)
    differs, before = machine.take("s2"), world.passed
    machine.send("s2", "s1")
    assert machine.arrived("s2") == differs
    assert world.passed - before < 14 * 65536


def test_twenty_cuts_at_random_moments_lose_nothing(world: PeerWorld, machine: Machine) -> None:
    chosen, parent = random.Random(4), ""
    for number in range(5):
        machine.write(100 + number)
        whole = machine.take(f"s{number}")
        world.cuts += [chosen.randrange(20_000, 400_000) for _ in range(4)]
        machine.send(f"s{number}", parent)
        parent = f"s{number}"
        assert machine.arrived(parent) == whole, parent


def test_what_is_cut_off_is_nothing_until_it_is_whole(world: PeerWorld, machine: Machine) -> None:
    machine.take("s1")
    peer = world.peer()
    incoming = peer.begin(machine.offer("s1"))
    volume = f"vms/{machine.disk}"
    assert dict(incoming.positions) == {volume: 0}
    block = Frame(0, MIB, b"x" * MIB)
    with pytest.raises(DriverError):
        peer.send(incoming.id, volume, 0, itertools.islice(encode([block, Frame(2 * MIB, 8, b"y" * 8)]), 1))
    assert dict(peer.positions(incoming.id).positions) == {volume: MIB}
    with pytest.raises(Conflict, match="has not come whole"):
        peer.commit(incoming.id)
    assert state_of(world, machine.uuid) is None
    assert peer.snapshots(machine.uuid) == ()
    assert peer.begin(machine.offer("s1")).id == incoming.id
    peer.abandon(incoming.id)
    assert not world.blocks.exists("vms", machine.disk)


def test_a_commit_may_be_made_again(world: PeerWorld, machine: Machine) -> None:
    machine.take("s1")
    peer, offer = world.peer(), machine.offer("s1")
    incoming = peer.begin(offer)
    assert peer.send(incoming.id, f"vms/{machine.disk}", 0, encode([])) == SIZE
    peer.commit(incoming.id)
    assert peer.begin(offer).complete


def test_a_damaged_frame_is_refused(world: PeerWorld, machine: Machine) -> None:
    machine.take("s1")
    peer = world.peer()
    incoming = peer.begin(machine.offer("s1"))
    stream = bytearray(b"".join(encode([Frame(0, MIB, random.Random(1).randbytes(MIB))])))
    stream[5000] ^= 1
    with pytest.raises(DriverError, match="byte 0 of the disk"):
        peer.send(incoming.id, f"vms/{machine.disk}", 0, [bytes(stream)])
    peer.abandon(incoming.id)


def test_blocks_beyond_what_is_stored_are_refused(world: PeerWorld, machine: Machine) -> None:
    machine.take("s1")
    peer = world.peer()
    incoming = peer.begin(machine.offer("s1"))
    with pytest.raises((DriverError, BadRequest), match="is stored up to byte 0"):
        peer.send(incoming.id, f"vms/{machine.disk}", MIB, encode([]))
    peer.abandon(incoming.id)


def test_another_snapshot_of_the_same_name_is_a_conflict(world: PeerWorld, machine: Machine) -> None:
    machine.take("s1")
    machine.send("s1")
    offer = machine.offer("s1")
    with pytest.raises(Conflict, match="another snapshot s1"):
        world.peer().begin(replace(offer, snapshot=replace(offer.snapshot, created=1.0)))


@REAL
def test_a_wrong_token_and_an_untrusted_certificate_are_said(west: SitePeerWorld) -> None:
    machine = Machine(west)
    machine.take("s1")
    for access, error, text in (
        (west.access(token="pvc_wrong_token"), Forbidden, "the API key is wrong, expired or revoked"),
        (west.access(verify_ssl=True), DriverError, "shows a certificate that is not trusted here"),
    ):
        west.known.peers["west"] = access
        with pytest.raises((error, Failed), match=text):
            machine.send("s1")
    west.known.peers["west"] = west.access()
    with pytest.raises(NotFound):
        west.east.peers.connect("north")


@REAL
def test_a_token_that_is_revoked_midway_ends_the_stream(west: SitePeerWorld) -> None:
    machine = Machine(west)
    machine.write(1)
    machine.take("s1")
    token = west.site.issue("short-lived")
    west.known.peers["west"] = west.access(token=token, bandwidth=25_000)  # for half a minute, if nothing ends it
    revoking = threading.Thread(target=_revoke_midway, args=(west, "short-lived"))
    revoking.start()
    with pytest.raises(Failed, match="API key"):
        machine.send("s1")
    revoking.join()
    assert state_of(west, machine.uuid) is None


def _revoke_midway(west: SitePeerWorld, token: str) -> None:
    until(lambda: west.passed > 50_000)
    west.site.revoke(token)


@REAL
def test_two_shipments_of_one_machine_from_two_clusters(west: SitePeerWorld, tmp_path: Path) -> None:
    machine = Machine(west)
    machine.take("s1")
    peer = west.peer()
    incoming = peer.begin(machine.offer("s1"))
    north = SitePeerWorld(tmp_path / "north", west.site)
    north.east.peers._source = lambda: "fsid-north"  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match=rf"being received from cluster fsid-east \(transfer {incoming.id}\)"):
        north.peer().begin(machine.offer("s1"))
    north.proxy.close()


@REAL
def test_a_web_server_that_dies_midway_costs_nothing(west: SitePeerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.5)
    machine = Machine(west)
    machine.write(1)
    whole = machine.take("s1")
    west.known.peers["west"] = west.access(bandwidth=300_000)
    sending = threading.Thread(target=machine.send, args=("s1",))
    sending.start()
    until(lambda: west.passed > 200_000)
    west.site.kill("web")
    west.site.start("web")  # by this thread: it would die with any other
    sending.join()
    assert machine.arrived("s1") == whole


def test_a_limit_holds_for_all_who_send_through_it_together() -> None:
    now = 50.0
    limit = Limit(1000, lambda: now)
    assert [limit.delay(500) for _ in range(3)] == [0, 0.5, 1.0]
    now = 60.0  # what was not used is saved up for one second
    assert [limit.delay(1000) for _ in range(3)] == [0, 0, 1.0]
    assert Limit(0, lambda: now).delay(1 << 40) == 0
