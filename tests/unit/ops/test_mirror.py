"""Mirrors between two clusters: made, handed over, taken back, promoted by force, and brought back together."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import Cancelled, ClaimLost, Conflict, DriverUnavailable, Failed, PvcError
from pvc_core.model.mirror import Mirror, MirrorRole, PeerWatch
from pvc_core.model.storage import Pool
from pvc_core.model.vm import VmState
from pvc_core.ops import shipping
from pvc_core.ops.vm_mirror import VmMirrorCreate, VmMirrorPromote, VmMirrorRemove, VmMirrorTakeBack
from pvc_core.ops.vm_mirror_second import VmMirrorForce, VmMirrorResync, VmMirrorTakeOver
from pvc_core.ops.vm_power import VmStart, VmStop
from pvc_core.ops.vm_snapshot import VmSnapshotRemove
from pvc_core.rules.lineage import watched
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher
from tests.unit.ops.pair import HousePeer, Pair

MIB = 1 << 20
BLOCK = 65536


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    pair = Pair(tmp_path)
    watch(pair.west, "east", pair.to_east)
    return pair


@pytest.fixture
def vm(pair: Pair) -> str:
    """A machine that runs at the first site."""
    uuid = pair.east.define(1)
    pair.east.blocks.resize("vms", "disk1", 2 * MIB)
    put(pair.east, 1)
    pair.east.run(VmStart(uuid))
    return uuid


def put(house: House, seed: int) -> None:
    """The guest writes something that no other seed writes."""
    chosen = random.Random(seed)
    with house.blocks.open("vms", "disk1", writable=True) as image:
        image.write(chosen.randrange(2 * MIB // BLOCK) * BLOCK, chosen.randbytes(BLOCK))


def content(house: House, snapshot: str = "") -> bytes:
    with house.blocks.open("vms", "disk1", snapshot=snapshot) as image:
        return image.read(0, image.size)


def mirror(house: House, vm: str) -> Mirror:
    return house.state.get(records.mirror(vm)).value


def create(house: House, vm: str, to: str = "west", **options: Any) -> str:
    house.lab.clock.advance(60)
    return str(house.run(VmMirrorCreate(vm, to), **options)["snapshot"])


def settle(pair: Pair) -> None:
    """Each side asks the other, and its nodes act."""
    for house, name, peer in ((pair.east, "west", pair.to_west), (pair.west, "east", pair.to_east)):
        if not peer.away:
            watch(house, name, peer)
        house.lab.advance(4)


def running(pair: Pair, vm: str) -> list[str]:
    settle(pair)
    return [name for name, house in (("east", pair.east), ("west", pair.west)) if house.runs_on(vm)]


def test_the_first_call_makes_the_mirror(pair: Pair, vm: str) -> None:
    name = create(pair.east, vm)
    ours, theirs = mirror(pair.east, vm), mirror(pair.west, vm)
    assert (ours.role, theirs.role) == (MirrorRole.PRIMARY, MirrorRole.SECONDARY)
    assert ours.lineage == theirs.lineage
    assert (ours.lineage.epoch, ours.lineage.leader) == (1, "fsid-east")
    assert ours.shared == theirs.shared == name
    assert content(pair.west, name) == content(pair.east, name)
    assert pair.west.vm(vm).state is VmState.MIRROR
    assert running(pair, vm) == ["east"]


def test_the_next_call_sends_the_difference(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    whole = pair.to_west.received
    put(pair.east, 2)
    name = create(pair.east, vm)
    assert pair.to_west.received - whole < 2 * BLOCK
    assert content(pair.west, name) == content(pair.east)


def test_a_goal_is_kept_with_the_mirror(pair: Pair, vm: str) -> None:
    pair.east.run(VmMirrorCreate(vm, "west", goal=120.0))
    create(pair.east, vm)
    assert mirror(pair.east, vm).goal == 120.0


def test_a_first_mirror_that_the_other_side_refuses_leaves_no_tie(pair: Pair, vm: str) -> None:
    pair.west.define(1)
    with pytest.raises(Failed, match="would be overwritten") as caught:
        create(pair.east, vm)
    assert vm not in pair.east.view.snapshot().mirrors
    assert "is sent first by the next call" in caught.value.left[0]


def test_a_call_that_was_cut_off_is_completed_by_the_next(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    put(pair.east, 2)
    pair.to_west.cuts = [1000] * 20
    with pytest.raises(Failed):
        create(pair.east, vm)
    left = [name for name in pair.east.view.snapshot().vm_snapshots[vm] if name != mirror(pair.east, vm).shared]
    pair.to_west.cuts = []
    name = create(pair.east, vm)
    assert set(left) <= set(pair.west.view.snapshot().vm_snapshots[vm])
    assert content(pair.west, name) == content(pair.east)


def test_only_one_other_cluster(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    with pytest.raises(Conflict, match="is mirrored with cluster west"):
        create(pair.east, vm, "north")


def test_a_cluster_is_no_mirror_of_itself(pair: Pair, vm: str) -> None:
    pair.east.peers.known["west"] = HousePeer(pair.east, "fsid-east")
    with pytest.raises(Conflict, match="is this cluster itself"):
        create(pair.east, vm)


@pytest.mark.parametrize("operation", [VmStart, VmStop])
def test_a_mirror_is_not_used_like_another_machine(pair: Pair, vm: str, operation: type[VmStart]) -> None:
    create(pair.east, vm)
    with pytest.raises(Conflict, match="is a mirror that cluster east leads"):
        pair.west.run(operation(vm))
    assert running(pair, vm) == ["east"]


def test_a_graceful_promotion_loses_nothing(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    put(pair.east, 2)
    assert pair.east.run(VmMirrorPromote(vm, "west"))["message"] == "VM vm1 is handed over to cluster west"
    assert running(pair, vm) == ["west"]
    assert content(pair.west) == content(pair.east)
    ours, theirs = mirror(pair.east, vm), mirror(pair.west, vm)
    assert (ours.role, theirs.role) == (MirrorRole.SECONDARY, MirrorRole.PRIMARY)
    assert ours.lineage == theirs.lineage
    assert (ours.lineage.epoch, ours.lineage.leader) == (2, "fsid-west")
    assert pair.east.vm(vm).state is VmState.MIRROR


def test_a_machine_can_be_handed_over_at_once_and_comes_back_by_the_difference(pair: Pair, vm: str) -> None:
    pair.west.lab.clock.advance(3600)  # its clock is an hour ahead
    pair.east.run(VmMirrorPromote(vm, "west"))
    put(pair.west, 2)
    pair.west.lab.clock.advance(10)
    pair.west.run(VmMirrorPromote(vm, "east"))
    assert pair.to_east.received < 2 * BLOCK
    assert running(pair, vm) == ["east"]
    assert content(pair.east) == content(pair.west)
    assert mirror(pair.east, vm).lineage.epoch == 3
    create(pair.east, vm)


def test_a_machine_that_is_off_stays_off(pair: Pair, vm: str) -> None:
    pair.east.run(VmStop(vm))
    pair.east.run(VmMirrorPromote(vm, "west"))
    assert pair.west.vm(vm).state is VmState.STOP
    assert running(pair, vm) == []


def test_a_move_leaves_nothing_behind(pair: Pair, vm: str) -> None:
    expected = content(pair.east)
    pair.east.run(VmMirrorPromote(vm, "west", remove=True))
    assert running(pair, vm) == ["west"]
    assert content(pair.west) == expected
    east = pair.east.view.snapshot()
    assert vm not in {*east.vms, *east.mirrors, *east.vm_snapshots}
    assert "disk1" not in pair.east.blocks.volumes("vms")
    assert vm not in pair.west.view.snapshot().mirrors


class Moment(HousePeer):
    """Fails at the calls named in ``lost`` (nothing arrives) or in ``unanswered`` (it is done, and nobody hears)."""

    lost: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    after: bool = False  # out of reach from the first failure on

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("begin", "send", "commit", "snapshots", "hear", "take_over"):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            if name in self.lost:
                self.away = self.after
                raise DriverUnavailable("the other cluster does not answer")
            result = found(*arguments, **options)
            if name in self.unanswered:
                self.away = self.after
                raise DriverUnavailable("the other cluster does not answer")
            return result

        return call


def moment(pair: Pair, **fields: Any) -> Moment:
    peer = Moment(pair.west, "fsid-east")
    for name, value in fields.items():
        setattr(peer, name, value)
    pair.east.peers.known["west"] = peer
    return peer


@pytest.mark.parametrize("call", ["begin", "send", "commit", "snapshots", "hear"])
@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_a_promotion_that_breaks_off_before_the_handover_leaves_the_machine_running(
    pair: Pair, vm: str, call: str, how: str
) -> None:
    create(pair.east, vm)
    put(pair.east, 2)
    moment(pair, **{how: (call,)})
    with pytest.raises((PvcError,)):
        pair.east.run(VmMirrorPromote(vm, "west"))
    assert running(pair, vm) == ["east"]
    assert mirror(pair.east, vm).role is MirrorRole.PRIMARY
    moment(pair)
    pair.east.lab.clock.advance(60)
    pair.east.run(VmMirrorPromote(vm, "west"))
    assert running(pair, vm) == ["west"]
    assert content(pair.west) == content(pair.east)


def test_a_cancelled_promotion_starts_the_machine_again(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    for step in ("Taking", "Sending", "Shutting"):
        pair.east.lab.clock.advance(60)
        with pytest.raises(Cancelled):
            pair.east.run(VmMirrorPromote(vm, "west"), watcher=Watcher(pair.east, cancel_at=step))
        assert running(pair, vm) == ["east"]


@dataclass
class Dying(Watcher):
    """A worker that dies after so many reports."""

    after: int = 0

    def claimed(self) -> bool:
        return len(self.messages) < self.after


@pytest.mark.parametrize("reports", range(1, 12))
def test_a_promotion_whose_worker_dies_is_completed_by_the_next(pair: Pair, vm: str, reports: int) -> None:
    create(pair.east, vm)
    put(pair.east, 2)
    with suppress(ClaimLost):
        pair.east.run(VmMirrorPromote(vm, "west"), watcher=Dying(pair.east, after=reports))
    settle(pair)
    pair.east.run(VmMirrorPromote(vm, "west"), attempt=2)
    assert running(pair, vm) == ["west"]
    assert content(pair.west) == content(pair.east)
    assert not mirror(pair.east, vm).starts


@pytest.mark.parametrize("reports", range(4, 7))
def test_a_promotion_whose_worker_dies_and_that_fails_then_starts_the_machine_again(
    pair: Pair, vm: str, reports: int
) -> None:
    create(pair.east, vm)
    with pytest.raises(ClaimLost):
        pair.east.run(VmMirrorPromote(vm, "west"), watcher=Dying(pair.east, after=reports))
    settle(pair)
    moment(pair, lost=("commit",))
    with pytest.raises(Failed):
        pair.east.run(VmMirrorPromote(vm, "west"), attempt=2)
    assert running(pair, vm) == ["east"]


def test_an_other_side_that_does_not_take_over_gives_the_machine_back(pair: Pair, vm: str) -> None:
    class Unwilling(HousePeer):
        def take_over(self, vm: str, lineage: Any, start: bool) -> None:
            if lineage.leader == "fsid-west":
                raise Conflict("no room")
            super().take_over(vm, lineage, start)

    create(pair.east, vm)
    pair.east.peers.known["west"] = Unwilling(pair.west, "fsid-east")
    with pytest.raises(Failed, match="did not take over: no room") as caught:
        pair.east.run(VmMirrorPromote(vm, "west"))
    assert "is led by this side again" in caught.value.left[0]
    assert running(pair, vm) == ["east"]
    assert mirror(pair.east, vm).lineage == mirror(pair.west, vm).lineage
    assert mirror(pair.east, vm).lineage.epoch == 3


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_while_it_is_not_known_who_leads_nobody_starts_it_here(pair: Pair, vm: str, how: str) -> None:
    create(pair.east, vm)
    peer = moment(pair, after=True, **{how: ("take_over",)})
    with pytest.raises(Failed, match="cannot be reached") as caught:
        pair.east.run(VmMirrorPromote(vm, "west"))
    assert any("is not known: promote it again" in left for left in caught.value.left)
    assert mirror(pair.east, vm).role is MirrorRole.HANDING
    assert running(pair, vm) == ([] if how == "lost" else ["west"])
    with pytest.raises(Failed):
        pair.east.run(VmMirrorTakeBack(vm))
    assert "east" not in running(pair, vm)
    peer.lost = peer.unanswered = ()
    peer.away = False
    pair.east.run(VmMirrorPromote(vm, "west"))
    assert running(pair, vm) == ["west"]
    assert mirror(pair.east, vm).role is MirrorRole.SECONDARY


def test_a_handover_can_be_taken_back_and_a_late_request_changes_nothing(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    peer = moment(pair, lost=("take_over",), after=True)
    with pytest.raises(Failed):
        pair.east.run(VmMirrorPromote(vm, "west"))
    late = mirror(pair.east, vm).lineage
    peer.lost, peer.away = (), False
    pair.east.run(VmMirrorTakeBack(vm))
    assert running(pair, vm) == ["east"]
    with pytest.raises(Conflict, match="comes too late"):
        pair.west.run(VmMirrorTakeOver(vm, late, start=True))
    assert running(pair, vm) == ["east"]


def test_what_was_taken_over_is_not_taken_back(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    peer = moment(pair, unanswered=("take_over",), after=True)
    with pytest.raises(Failed):
        pair.east.run(VmMirrorPromote(vm, "west"))
    peer.unanswered, peer.away = (), False
    with pytest.raises(PvcError, match="took VM vm1 over"):
        pair.east.run(VmMirrorTakeBack(vm))
    assert running(pair, vm) == ["west"]
    assert mirror(pair.east, vm).role is MirrorRole.SECONDARY


def lose_east(pair: Pair, vm: str) -> None:
    """The first site is lost after its last snapshot was sent and more was written; the second goes on by force."""
    create(pair.east, vm)
    put(pair.east, 2)
    pair.to_east.away = pair.to_west.away = True
    pair.west.lab.clock.advance(100)
    pair.west.run(VmMirrorForce(vm))


@pytest.mark.parametrize(("answers", "waited"), [(False, 55.0), (True, 0.0)], ids=["it is silent", "it answers"])
def test_a_forced_promotion_waits_until_a_site_that_has_just_fallen_silent_would_ask_before_it_starts_anything(
    pair: Pair, vm: str, answers: bool, waited: float
) -> None:
    create(pair.east, vm)
    west, clock = pair.west, pair.west.lab.clock
    last = clock.now() - 20.0
    west.state.put(records.peer("east"), PeerWatch("east", since=last, attempted=clock.now(), answered=last))

    class Answering(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            super().report(current, total, message)
            if answers and message.startswith("Waiting"):
                watch = west.state.get(records.peer("east"))
                west.state.put(watch.key, replace(watch.value, answered=clock.now() + 0.1))

    watcher, began = Answering(west), clock.now()
    west.run(VmMirrorForce(vm), watcher=watcher)
    assert any("has been silent for 75 s" in message for message in watcher.messages)
    assert waited <= clock.now() - began <= waited + 5.0


def test_a_forced_promotion_goes_on_from_the_newest_whole_snapshot(pair: Pair, vm: str) -> None:
    name = create(pair.east, vm)
    put(pair.east, 2)
    pair.to_west.cuts = [1000] * 20
    with pytest.raises(Failed):
        create(pair.east, vm)
    answer = pair.west.run(VmMirrorForce(vm))
    assert "s older than the promotion" in answer["message"]
    assert content(pair.west) == content(pair.east, name)
    assert pair.west.runs_on(vm)
    assert not pair.west.view.snapshot().transfers
    promotion = mirror(pair.west, vm).lineage.promotions[-1]
    assert (promotion.epoch, promotion.forced, promotion.base) == (2, True, name)


def test_a_side_that_was_superseded_follows_and_keeps_what_it_had_alone(pair: Pair, vm: str) -> None:
    lose_east(pair, vm)
    alone = content(pair.east)
    put(pair.west, 3)
    pair.east.run(VmStop(vm))
    pair.to_east.away = pair.to_west.away = False
    answer = pair.east.run(VmMirrorResync(vm))
    assert answer["kept"] == "kept-1"
    assert content(pair.east, "kept-1") == alone
    assert mirror(pair.east, vm).role is MirrorRole.SECONDARY
    assert mirror(pair.east, vm).lineage == mirror(pair.west, vm).lineage
    before = pair.to_east.received
    pair.west.lab.clock.advance(60)
    create(pair.west, vm, "east")
    assert pair.to_east.received - before < 3 * BLOCK
    pair.west.lab.clock.advance(60)
    pair.west.run(VmMirrorPromote(vm, "east"))
    assert running(pair, vm) == ["east"]
    assert content(pair.east) == content(pair.west)
    assert content(pair.east, "kept-1") == alone


def test_a_superseded_side_cannot_send(pair: Pair, vm: str) -> None:
    lose_east(pair, vm)
    pair.to_east.away = pair.to_west.away = False
    with pytest.raises(Conflict, match="leads this VM: run vm mirror resync"):
        create(pair.east, vm)


def test_a_machine_that_runs_does_not_give_way(pair: Pair, vm: str) -> None:
    lose_east(pair, vm)
    pair.to_east.away = pair.to_west.away = False
    with pytest.raises(Conflict, match="must be stopped"):
        pair.east.run(VmMirrorResync(vm))


def test_who_leads_alone_has_nobody_to_follow(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    pair.east.run(VmStop(vm))
    with pytest.raises(Conflict, match="does not lead this VM"):
        pair.east.run(VmMirrorResync(vm))


def test_the_superseded_side_can_be_chosen_instead(pair: Pair, vm: str) -> None:
    """A person prefers what the lost side had: it leads again, above both, and the other one keeps its own."""
    lose_east(pair, vm)
    pair.east.run(VmStop(vm))
    chosen, other = content(pair.east), content(pair.west)
    pair.to_east.away = pair.to_west.away = False
    entry = pair.east.state.get(records.mirror(vm))
    watch(pair.east, "west", pair.to_west)
    pair.east.state.transaction().update(entry, superseded(entry.value)).commit()
    pair.east.run(VmMirrorForce(vm))
    assert mirror(pair.east, vm).lineage.epoch == 3
    assert content(pair.east) == chosen
    pair.west.run(VmStop(vm))
    assert pair.west.run(VmMirrorResync(vm))["kept"] == "kept-2"
    assert content(pair.west, "kept-2") == other
    create(pair.east, vm)


def superseded(known: Mirror) -> Mirror:
    return replace(known, role=MirrorRole.SUPERSEDED)


def watch(house: House, name: str, peer: HousePeer) -> None:
    now = house.lab.clock.now()
    house.state.put(records.peer(name), watched(None, name, now, now, peer.hear(), house.config("n1").timing))


def test_the_tie_ends_at_the_side_where_it_is_ended(pair: Pair, vm: str) -> None:
    create(pair.east, vm)
    pair.east.run(VmMirrorRemove(vm))
    assert vm not in pair.east.view.snapshot().mirrors
    assert running(pair, vm) == ["east"]
    create(pair.east, vm)
    assert mirror(pair.east, vm).lineage == mirror(pair.west, vm).lineage


def test_a_copy_without_a_tie_is_started_by_force(pair: Pair, vm: str) -> None:
    name = create(pair.east, vm)
    pair.west.run(VmMirrorRemove(vm))
    pair.west.run(VmMirrorForce(vm, state="stop"))
    assert pair.west.vm(vm).state is VmState.STOP
    assert content(pair.west) == content(pair.east, name)


def test_disks_find_their_pools_on_the_way_back(pair: Pair, vm: str) -> None:
    pair.west.blocks.create_pool("copies", 32, 3, 2, "default")
    pair.west.state.put(records.pool("copies"), Pool("copies", 32))
    pair.west.lab.client.ensure("/pvc/volumes/copies")
    expected = content(pair.east)
    pair.east.run(VmMirrorPromote(vm, "west", pool="copies"))
    assert pair.west.blocks.volumes("copies") == ["disk1"]
    pair.west.lab.clock.advance(10)
    pair.west.run(VmMirrorPromote(vm, "east"))
    assert running(pair, vm) == ["east"]
    assert content(pair.east) == expected
    assert pair.east.blocks.volumes("vms") == ["disk1"]


@pytest.mark.parametrize("side", ["east", "west"])
def test_what_both_sides_have_in_common_is_not_removed(pair: Pair, vm: str, side: str) -> None:
    house = getattr(pair, side)
    old = create(pair.east, vm)
    with pytest.raises(Conflict, match="has in common with cluster"):
        house.run(VmSnapshotRemove(vm, old))
    create(pair.east, vm)
    house.run(VmSnapshotRemove(vm, old))
    assert old not in house.view.snapshot().vm_snapshots[vm]
