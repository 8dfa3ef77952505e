"""Snapshots on their way from one cluster to another."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pvc_core.errors import Cancelled, Conflict, Failed, NotFound
from pvc_core.model.vm import VmState
from pvc_core.ops import shipping
from pvc_core.ops.vm_receive import VmReceiveAbandon, VmReceiveCommit
from pvc_core.ops.vm_send import VmSnapshotSend
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from pvc_core.transfer import images
from tests.unit.ops.house import Watcher
from tests.unit.ops.pair import Pair

MIB = 1 << 20
SIZE = 8 * MIB


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(images, "FLUSH_EVERY", MIB)
    return Pair(tmp_path)


@pytest.fixture
def vm(pair: Pair) -> str:
    """A machine with one disk, partly written."""
    uuid = pair.east.define(1)
    pair.east.blocks.resize("vms", "disk1", SIZE)
    write(pair, 1)
    return uuid


def write(pair: Pair, seed: int) -> None:
    """Write some blocks that no other seed writes, and clear some."""
    chosen = random.Random(seed)
    with pair.east.blocks.open("vms", "disk1", writable=True) as image:
        for _ in range(12):
            offset = chosen.randrange(SIZE // 65536) * 65536
            image.write(offset, chosen.randbytes(65536))
        image.zero(chosen.randrange(7) * MIB, MIB)


def take(pair: Pair, vm: str, name: str) -> bytes:
    """A snapshot; what it holds."""
    pair.east.lab.clock.advance(60)
    pair.east.run(VmSnapshotCreate(vm, name))
    return at(pair.east, name)


def at(house, name: str, disk: str = "disk1") -> bytes:
    with house.blocks.open("vms", disk, snapshot=name) as image:
        return image.read(0, image.size)


def send(pair: Pair, vm: str, name: str, parent: str = "", **options) -> None:
    pair.east.run(VmSnapshotSend(vm, name, "west", parent), **options)
    pair.west.lab.cycle()


def test_a_machine_that_was_sent_is_a_mirror_with_the_same_snapshot(pair: Pair, vm: str) -> None:
    content = take(pair, vm, "s1")
    send(pair, vm, "s1")
    west = pair.west.view.snapshot()
    assert west.vms[vm].vm.state is VmState.MIRROR
    assert west.vm_names["vm1"] == vm
    assert at(pair.west, "s1") == content
    assert west.vm_snapshots[vm]["s1"] == pair.east.view.snapshot().vm_snapshots[vm]["s1"]
    assert [one.name for one in west.volumes["vms/disk1"].snapshots] == ["s1"]
    assert not west.transfers


def test_only_what_differs_from_the_parent_is_sent(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    whole = pair.to_west.received
    write(pair, 2)
    content = take(pair, vm, "s2")
    send(pair, vm, "s2", "s1")
    assert at(pair.west, "s2") == content
    assert pair.to_west.received - whole < 16 * 65536 < whole + 16 * 65536


def test_what_was_cut_goes_on_from_the_last_stored_block_twenty_times_over(pair: Pair, vm: str) -> None:
    chosen = random.Random(4)
    parent = ""
    for number in range(20):
        name = f"s{number}"
        write(pair, 100 + number)
        content = take(pair, vm, name)
        pair.to_west.cuts = [chosen.randrange(900_000) for _ in range(3)]
        send(pair, vm, name, parent)
        assert at(pair.west, name) == content, f"after {name}"
        parent = name


def test_a_transfer_that_was_given_up_is_taken_up_by_the_next_one(
    pair: Pair, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = take(pair, vm, "s1")
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    pair.to_west.cuts = [500_000, 0]
    with pytest.raises(Failed) as caught:
        send(pair, vm, "s1")
    assert "send it again" in caught.value.left[0]
    before = pair.to_west.received
    west = pair.west.view.snapshot()
    assert (dict(west.vms), dict(west.vm_snapshots), dict(west.volumes)) == ({}, {}, {})
    send(pair, vm, "s1")
    assert at(pair.west, "s1") == content
    assert pair.to_west.received - before < 600_000


def test_a_snapshot_that_has_not_come_whole_cannot_be_committed(
    pair: Pair, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(pair, vm, "s1")
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    pair.to_west.cuts = [300_000, 0]
    with pytest.raises(Failed):
        send(pair, vm, "s1")
    pair.west.lab.cycle()
    with pytest.raises(Conflict, match="vms/disk1 has not come whole"):
        pair.west.run(VmReceiveCommit(vm, "s1"))
    assert not pair.west.view.snapshot().vms


def test_an_increment_that_was_given_up_harms_no_complete_snapshot(
    pair: Pair, vm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take(pair, vm, "s1")
    send(pair, vm, "s1")
    write(pair, 2)
    take(pair, vm, "s2")
    with monkeypatch.context() as patch:
        patch.setattr(shipping, "PATIENCE", -1.0)
        pair.to_west.cuts = [300_000, 0]
        with pytest.raises(Failed):
            send(pair, vm, "s2", "s1")
    assert at(pair.west, "s1") == first
    write(pair, 3)
    third = take(pair, vm, "s3")
    send(pair, vm, "s3", "s1")  # another snapshot takes the place of the unfinished one
    assert at(pair.west, "s3") == third
    assert at(pair.west, "s1") == first


def test_a_whole_disk_over_an_older_copy_leaves_nothing_of_it(pair: Pair, vm: str) -> None:
    first = take(pair, vm, "s1")
    send(pair, vm, "s1")
    with pair.east.blocks.open("vms", "disk1", writable=True) as image:
        image.zero(0, SIZE // 2)
    second = take(pair, vm, "s2")
    send(pair, vm, "s2")
    assert (at(pair.west, "s1"), at(pair.west, "s2")) == (first, second)


def test_a_disk_that_grew_grows_at_the_other_side(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    pair.east.blocks.resize("vms", "disk1", SIZE + 4 * MIB)
    with pair.east.blocks.open("vms", "disk1", writable=True) as image:
        image.write(SIZE + MIB, b"grown")
    content = take(pair, vm, "s2")
    send(pair, vm, "s2", "s1")
    assert at(pair.west, "s2") == content
    assert pair.west.view.snapshot().volumes["vms/disk1"].size == SIZE + 4 * MIB


def test_a_second_shipment_of_one_machine_is_told_of_the_first(pair: Pair, vm: str, monkeypatch) -> None:
    take(pair, vm, "s1")
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    pair.to_west.cuts = [300_000, 0]
    with pytest.raises(Failed):
        send(pair, vm, "s1")
    pair.to_west.source = "fsid-north"
    with pytest.raises(Conflict, match="snapshot s1 of VM vm1 is being received from cluster fsid-east"):
        send(pair, vm, "s1")


def test_the_same_snapshot_is_not_sent_twice(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    before = pair.to_west.received
    send(pair, vm, "s1")
    assert pair.to_west.received == before


def test_a_parent_that_the_other_side_lacks_is_named(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    write(pair, 2)
    take(pair, vm, "s2")
    before = pair.west.picture()
    with pytest.raises(Conflict, match="snapshot s1 of VM vm1, from which the blocks differ, is not here"):
        send(pair, vm, "s2", "s1")
    assert pair.west.picture() == before


def test_a_parent_that_merely_has_the_same_name_is_refused(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    send(pair, vm, "s1")
    pair.east.run(VmSnapshotRemove(vm, "s1"))
    write(pair, 2)
    take(pair, vm, "s1")
    take(pair, vm, "s2")
    before = pair.west.picture()
    with pytest.raises(Conflict, match="snapshot s1 is of another moment"):
        send(pair, vm, "s2", "s1")
    assert pair.west.picture() == before


def test_a_machine_of_the_other_side_is_not_overwritten(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    pair.west.define(1)
    before = pair.west.picture()
    with pytest.raises(Conflict, match="VM vm1 is here already, in state stop"):
        send(pair, vm, "s1")
    assert pair.west.picture() == before


def test_a_full_pool_at_the_other_side_is_named(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    pair.west.blocks.create("vms", "other", SIZE)
    with pair.west.blocks.open("vms", "other", writable=True) as image:
        image.write(0, b"x" * MIB)
    pair.west.blocks.capacity = MIB
    with pytest.raises(Conflict, match="pool vms is full"):
        send(pair, vm, "s1")


def test_a_pool_that_fills_up_on_the_way_is_named(pair: Pair, vm: str) -> None:
    content = take(pair, vm, "s1")
    pair.west.blocks.capacity = 12 * MIB  # with three copies of each block
    with pytest.raises(Failed, match="pool vms is full") as caught:
        send(pair, vm, "s1")
    assert "waits at the other side" in caught.value.left[0]
    pair.west.blocks.capacity = 1 << 40
    send(pair, vm, "s1")
    assert at(pair.west, "s1") == content


def test_a_cancelled_shipment_leaves_nothing_at_the_other_side(pair: Pair, vm: str, monkeypatch) -> None:
    take(pair, vm, "s1")
    before = pair.west.picture()
    monkeypatch.setattr(shipping, "LOOK_INTERVAL", 0.01)
    pair.to_west.cuts = [100_000] * 10_000
    with pytest.raises(Cancelled) as caught:
        send(pair, vm, "s1", watcher=Watcher(pair.east, cancel_at="Sending snapshot"))
    assert caught.value.left == ()
    assert pair.west.picture() == before


def test_an_interrupted_shipment_keeps_what_arrived(pair: Pair, vm: str, monkeypatch) -> None:
    take(pair, vm, "s1")
    monkeypatch.setattr(shipping, "LOOK_INTERVAL", 0.01)
    pair.to_west.cuts = [300_000] * 10_000
    with pytest.raises(Cancelled):
        send(pair, vm, "s1", watcher=Watcher(pair.east, cancel_at="Sending snapshot", interrupted=True))
    assert vm in pair.west.view.snapshot().transfers


def test_an_abandoned_transfer_leaves_nothing(pair: Pair, vm: str, monkeypatch) -> None:
    take(pair, vm, "s1")
    before = pair.west.picture()
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    pair.to_west.cuts = [300_000, 0]
    with pytest.raises(Failed):
        send(pair, vm, "s1")
    pair.west.lab.cycle()
    pair.west.run(VmReceiveAbandon(vm, "s1"))
    assert pair.west.picture() == before


def test_an_unknown_peer_and_one_that_is_away_are_refused(pair: Pair, vm: str) -> None:
    take(pair, vm, "s1")
    with pytest.raises(NotFound, match="there is no peer 'north'"):
        pair.east.run(VmSnapshotSend(vm, "s1", "north"))
    pair.to_west.away = True
    with pytest.raises(Failed, match="cannot be reached") as caught:
        send(pair, vm, "s1")
    assert caught.value.left == ()
