"""Snapshots that come, and go, by the calls that PVC's API documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import BadRequest, Busy, Conflict, DriverUnavailable, Failed
from pvc_core.fakes.peers import FakePeers
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, Promotion, Transfer
from pvc_core.model.vm import VmState
from pvc_core.model.vm_snapshot import SnapshotDisk, VmSnapshot
from pvc_core.ops import receiving, shipping
from pvc_core.ops.vm_receive import VmReceiveAbandon, VmReceiveBegin, VmReceiveCommit
from pvc_core.ops.vm_receive_documented import (
    VmReceiveBlock,
    VmReceiveConfig,
    block_offer,
    seal_block,
    size_at,
    write_block,
)
from pvc_core.ops.vm_send import VmSnapshotSend
from pvc_core.ops.vm_snapshot import VmSnapshotCreate
from pvc_core.ports import Incoming, Offer
from pvc_core.state import records
from pvc_core.transfer import plain
from pvc_core.transfer.frames import Damaged
from tests.unit.ops.house import House
from tests.unit.ops.pair import Pair, Reader
from tests.unit.ops.test_shipping import SIZE, at, take, write

MIB = 1 << 20
DISK = "vms/disk1"


@dataclass
class DocumentedPeer:
    """A cluster that knows the documented calls alone. ``vm`` is the machine in their paths; ``cuts`` are after how
    many bytes the next bodies break off."""

    house: House
    vm: str
    sender: str = "with API key east"
    cuts: list[int] = field(default_factory=list)
    offers: dict[str, Offer] = field(default_factory=dict)

    def begin(self, offer: Offer) -> Incoming:
        self.offers["t"] = offer
        return self.positions("t")

    def positions(self, transfer: str) -> Incoming:
        return Incoming(
            transfer, dict.fromkeys((disk.volume for disk in self.offers[transfer].disks), 0), documented=True
        )

    def send(self, transfer: str, volume: str, position: int, parts: Iterable[bytes], since: str = "") -> int:
        offer = self.offers[transfer]
        (size,) = (disk.size for disk in offer.disks if disk.volume == volume)
        self.block(offer.snapshot.name, volume, parts, size, since)
        self.seal(offer.snapshot.name, volume)
        return size

    def block(self, name: str, volume: str, parts: Iterable[bytes], size: int, since: str = "") -> None:
        """POST, or PUT where there is a parent."""
        if since:
            size = size_at(self.house.view.snapshot(), self.vm, since, volume)
        offer = block_offer(self.vm, name, SnapshotDisk(volume, size), since)
        self.house.run(VmReceiveBlock(self.vm, offer, self.sender))
        read = Reader(parts, self.cuts.pop(0) if self.cuts else None)
        try:
            write_block(
                self.house.blocks,
                self.transfer(name),
                volume,
                lambda: plain.read_diff(read, since, name) if since else (size, plain.read_raw(read, size)),
            )
        except Damaged as error:
            if read.broke:
                raise DriverUnavailable("the connection broke off") from error
            raise

    def seal(self, name: str, volume: str) -> None:
        seal_block(self.house.blocks, self.transfer(name), volume)

    def commit(self, transfer: str) -> None:
        self.config(self.offers[transfer])

    def config(self, offer: Offer) -> None:
        self.house.run(VmReceiveConfig(self.vm, offer.snapshot.name, offer))
        self.house.lab.cycle()

    def transfer(self, name: str) -> Transfer:
        self.house.lab.cycle()
        return receiving.find_transfer(self.house.view.snapshot(), self.vm, name)

    def snapshots(self, vm: str) -> Sequence[VmSnapshot]:
        taken = self.house.view.snapshot().vm_snapshots.get(vm, {}).values()
        return [replace(one, created=float(int(one.created)), disks=()) for one in taken]

    def abandon(self, transfer: str) -> None:
        raise AssertionError("it has no call for that")

    def close(self) -> None:
        pass


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    return Pair(tmp_path)


@pytest.fixture
def vm(pair: Pair) -> str:
    uuid = pair.east.define(1)
    pair.east.blocks.resize("vms", "disk1", SIZE)
    write(pair, 1)
    return uuid


@pytest.fixture
def west(pair: Pair, vm: str) -> DocumentedPeer:
    peer = DocumentedPeer(pair.west, vm)
    pair.east.peers = FakePeers({"west": peer})  # type: ignore[dict-item]
    return peer


def send(pair: Pair, vm: str, name: str, parent: str = "") -> None:
    pair.east.run(VmSnapshotSend(vm, name, "west", parent))


def offer_of(pair: Pair, vm: str, name: str) -> Offer:
    taken = pair.east.view.snapshot().vm_snapshots[vm][name]
    return Offer(vm, taken, pair.east.state.get(records.vm_snapshot_config(vm, name)).value, taken.disks, pool="vms")


def test_a_snapshot_that_was_sent_is_a_mirror_with_the_same_disk(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    content = take(pair, vm, "s1")
    send(pair, vm, "s1")
    there = pair.west.view.snapshot()
    assert there.vms[vm].vm.state is VmState.MIRROR
    assert at(pair.west, "s1") == content
    assert there.vm_snapshots[vm]["s1"] == pair.east.view.snapshot().vm_snapshots[vm]["s1"]
    assert not there.transfers


def test_what_differs_is_written_onto_the_parent_and_the_disk_grows(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    first = take(pair, vm, "s1")
    send(pair, vm, "s1")
    write(pair, 2)
    pair.east.blocks.resize("vms", "disk1", SIZE + MIB)
    second = take(pair, vm, "s2")
    send(pair, vm, "s2", "s1")
    assert (at(pair.west, "s1"), at(pair.west, "s2")) == (first, second)
    assert pair.west.view.snapshot().volumes[DISK].size == SIZE + MIB


def test_a_cut_begins_the_volume_anew(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    parent = ""
    for number in range(4):
        write(pair, 100 + number)
        content = take(pair, vm, f"s{number}")
        west.cuts = [300_000, 20, 0]
        send(pair, vm, f"s{number}", parent)
        parent = f"s{number}"
        assert at(pair.west, parent) == content, parent


def test_a_machine_that_is_not_here_may_be_named(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    content = take(pair, vm, "s1")
    west.vm = "vm1"
    send(pair, vm, "s1")
    assert at(pair.west, "s1") == content
    assert vm in pair.west.view.snapshot().vms


def test_there_is_no_record_before_the_configuration_and_none_of_what_is_missing(
    pair: Pair, vm: str, west: DocumentedPeer
) -> None:
    content, offer = take(pair, vm, "s1"), offer_of(pair, vm, "s1")
    west.block("s1", DISK, [content], SIZE)
    there = pair.west.view.snapshot()
    assert (dict(there.vms), dict(there.vm_snapshots), dict(there.volumes)) == ({}, {}, {})
    with pytest.raises(Conflict, match="vms/disk1 has not come whole"):
        west.config(offer)
    west.seal("s1", DISK)
    west.seal("s1", DISK)  # the answer to the first may have been lost
    with pytest.raises(BadRequest):
        pair.west.run(VmReceiveCommit(vm, "s1"))
    west.config(offer)
    west.config(offer)
    assert at(pair.west, "s1") == content


def test_what_broke_off_cannot_be_sealed_and_nothing_of_it_stays(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    content, offer = take(pair, vm, "s1"), offer_of(pair, vm, "s1")
    west.block("s1", DISK, [b"y" * SIZE], SIZE)
    west.seal("s1", DISK)
    west.cuts = [SIZE - 1]
    with pytest.raises(DriverUnavailable):
        west.block("s1", DISK, [b"x" * SIZE], SIZE)  # over what had come already
    with pytest.raises(Conflict, match="has not come whole"):
        west.seal("s1", DISK)
    with pytest.raises(Conflict, match="has not come whole"):
        west.config(offer)
    west.block("s1", DISK, [content], SIZE)
    west.seal("s1", DISK)
    west.config(offer)
    assert at(pair.west, "s1") == content


@pytest.mark.parametrize("first", ["", "s1"])
def test_a_volume_that_was_made_ready_otherwise_is_made_ready_anew(
    pair: Pair, vm: str, west: DocumentedPeer, first: str
) -> None:
    before = take(pair, vm, "s1")
    send(pair, vm, "s1")
    offer = block_offer(vm, "s2", SnapshotDisk(DISK, SIZE), first)
    pair.west.run(VmReceiveBlock(vm, offer, west.sender))
    if first:
        expected = bytes(MIB) + b"x" * MIB + bytes(SIZE - 2 * MIB)
        west.block("s2", DISK, [expected], SIZE)
    else:
        expected = b"x" * 512 + before[512:]
        west.block("s2", DISK, plain.write_diff([plain.Frame(0, 512, b"x" * 512)], "s1", "s2", SIZE), 0, "s1")
    with pair.west.blocks.open("vms", "disk1") as image:
        assert image.read(0, SIZE) == expected


def test_all_disks_have_to_come_and_no_other_ones(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    content, offer = take(pair, vm, "s1"), offer_of(pair, vm, "s1")
    for volume in ("vms/other", DISK):
        if volume == DISK:
            with pytest.raises(Conflict, match="volume vms/disk1 of this snapshot has not come"):
                west.config(offer)
        west.block("s1", volume, [content], SIZE)
        west.seal("s1", volume)
    with pytest.raises(Conflict, match="volume vms/other has come, and is no disk"):
        west.config(offer)
    pair.west.run(VmReceiveAbandon(vm, "s1"))
    assert pair.west.blocks.volumes("vms") == []


def test_a_disk_of_another_size_than_the_configuration_says_is_refused(
    pair: Pair, vm: str, west: DocumentedPeer
) -> None:
    take(pair, vm, "s1")
    west.block("s1", DISK, [bytes(MIB)], MIB)
    west.seal("s1", DISK)
    with pytest.raises(Conflict, match=f"has {MIB} bytes, and as a disk of the snapshot {SIZE}"):
        west.config(offer_of(pair, vm, "s1"))


def test_a_configuration_of_another_machine_or_snapshot_is_refused(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    content, offer = take(pair, vm, "s1"), offer_of(pair, vm, "s1")
    west.block("s1", DISK, [content], SIZE)
    west.seal("s1", DISK)
    with pytest.raises(BadRequest, match="not of s2"):
        pair.west.run(VmReceiveConfig(vm, "s2", offer))
    with pytest.raises(BadRequest, match="not of db"):
        pair.west.run(VmReceiveConfig("db", "s1", offer))


def lead_elsewhere(house: House, vm: str) -> None:
    promotion = Promotion(1, "fsid-east", "s1", False, 1.0)
    house.state.put(records.mirror(vm), Mirror(vm, "east", MirrorRole.SECONDARY, Lineage((promotion,))))
    house.lab.cycle()


def test_nothing_that_is_here_is_overwritten(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    pair.west.volume("disk2")
    pair.west.define(3)
    cases: list[tuple[Any, str]] = [
        ((block_offer(vm, "s1", SnapshotDisk("vms/disk2", MIB))), "volume vms/disk2 already"),
        ((block_offer("new", "s1", SnapshotDisk("vms/disk3", MIB))), "volume vms/disk3 already"),
        ((block_offer(f"{vm[:-1]}3", "s1", SnapshotDisk("vms/new", MIB))), "VM vm3 is here already, in state stop"),
        ((block_offer(vm, "s2", SnapshotDisk(DISK, MIB), "s1")), "snapshot s1 .* is not here"),
    ]
    before = pair.west.picture()
    for offer, text in cases:
        with pytest.raises(Conflict, match=text):
            pair.west.run(VmReceiveBlock(offer.vm, offer, "with API key east"))
    assert pair.west.picture() == before


def test_a_machine_whose_lineage_is_known_here_is_not_received(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    lead_elsewhere(pair.west, vm)
    take(pair, vm, "s2")
    with pytest.raises(Failed, match="is mirrored here"):
        send(pair, vm, "s2", "s1")


def test_a_snapshot_that_is_here_is_not_sent_into_again(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    with pytest.raises(Conflict, match="another snapshot s1"):
        west.block("s1", DISK, [], SIZE)


def test_an_rbd_snapshot_of_somebody_else_is_not_taken_for_what_came(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    pair.west.volume_snapshot("disk1", "s2")
    take(pair, vm, "s2")
    for begin in (
        VmReceiveBlock(vm, block_offer(vm, "s2", SnapshotDisk(DISK, SIZE), "s1"), "with API key east"),
        VmReceiveBegin(vm, offer_of(pair, vm, "s2"), "fsid-east"),
    ):
        with pytest.raises(Conflict, match="volume vms/disk1 has another snapshot s2"):
            pair.west.run(begin)


def test_another_sender_is_told_of_the_first_and_a_later_snapshot_takes_its_place(
    pair: Pair, vm: str, west: DocumentedPeer
) -> None:
    content = take(pair, vm, "s1")
    west.block("s1", DISK, [content], SIZE)
    west.sender = "with API key north"
    with pytest.raises(Conflict, match="being received from cluster with API key east"):
        west.block("s1", DISK, [content], SIZE)
    west.sender = "with API key east"
    pair.west.blocks.create("vms", "stray", MIB)
    west.block("s2", DISK, [content], SIZE)
    assert pair.west.view.snapshot().transfers[vm].snapshot == "s2"
    with pytest.raises(Conflict, match="vms/stray"):
        west.block("s2", "vms/stray", [bytes(MIB)], MIB)


def test_of_two_streams_into_one_volume_the_second_has_to_begin_again(
    pair: Pair, vm: str, west: DocumentedPeer
) -> None:
    content = take(pair, vm, "s1")
    west.block("s1", DISK, [content], SIZE)
    with pytest.raises(Busy, match="has taken another stream"):
        write_block(pair.west.blocks, west.transfer("s1"), DISK, lambda: (SIZE, iter(())))


def test_a_full_pool_is_named(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    pair.west.blocks.create("vms", "other", SIZE)
    with pair.west.blocks.open("vms", "other", writable=True) as image:
        image.write(0, b"x" * MIB)
    pair.west.blocks.capacity = MIB
    with pytest.raises(Failed, match="pool vms is full"):
        send(pair, vm, "s1")


def test_a_block_beyond_the_disk_is_refused(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    stream = b"".join(plain.write_diff([plain.Frame(SIZE - 1, 2, b"ab")], "s1", "s2", SIZE))
    with pytest.raises(Damaged, match="the disk has"):
        west.block("s2", DISK, [stream], 0, "s1")
    assert at(pair.west, "s1") == at(pair.east, "s1")


def test_a_parent_of_the_same_name_and_another_moment_is_refused(pair: Pair, vm: str, west: DocumentedPeer) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    moved = replace(pair.west.view.snapshot().vm_snapshots[vm]["s1"], created=1.0)
    pair.west.state.put(records.vm_snapshot(vm, "s1"), moved)
    pair.west.lab.cycle()
    pair.east.lab.clock.advance(60)
    pair.east.run(VmSnapshotCreate(vm, "s2"))
    with pytest.raises(Conflict, match="snapshot s1 is of another moment"):
        send(pair, vm, "s2", "s1")
