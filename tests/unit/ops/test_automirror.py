"""Mirrors by schedule, between two clusters in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import Failed
from pvc_core.fakes.schedules import FakeReports, FakeSchedules
from pvc_core.model.backup import MirrorPlan
from pvc_core.model.vm import Tag
from pvc_core.model.vm_snapshot import Purpose
from pvc_core.ops import shipping
from pvc_core.ops.automirror import Automirror
from pvc_core.ops.vm_mirror import VmMirrorCreate, VmMirrorPromote
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher
from tests.unit.ops.pair import Pair

MIB = 1 << 20
PLAN = MirrorPlan("minutely", "west", tags=("kept",), keep=2, peer_keep=3, goal=120.0, mail=("ops@example.com",))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    return Pair(tmp_path)


def define(pair: Pair, number: int) -> str:
    uuid = pair.east.define(number, tags=(Tag("kept"),))
    pair.east.blocks.resize("vms", f"disk{number}", 2 * MIB)
    return uuid


def run(pair: Pair, reports: FakeReports | None = None) -> Any:
    pair.east.lab.clock.advance(60)
    tools = {"schedules": FakeSchedules(PLAN), "reports": reports or FakeReports()}
    watcher = Watcher(pair.east, tools=tools)
    return pair.east.run(Automirror(("minutely",)), watcher=watcher, **tools)


def snapshots(house: House, uuid: str) -> list[str]:
    house.view.settle()
    return sorted(house.view.snapshot().vm_snapshots.get(uuid, {}))


def test_each_machine_of_its_tags_is_mirrored_with_the_goal_of_the_schedule(pair: Pair) -> None:
    machines = [define(pair, 1), define(pair, 2)]
    pair.east.define(3)
    reports = FakeReports()
    assert "mirrored: 2" in run(pair, reports)["message"]
    assert all(len(snapshots(pair.west, uuid)) == 1 for uuid in machines)
    assert pair.east.state.get(records.mirror(machines[0])).value.goal == 120
    assert [outcome.vm for outcome in reports.sent[0][0].outcomes] == ["vm1", "vm2"]


def test_old_snapshots_go_at_both_ends_each_by_its_own_number(pair: Pair) -> None:
    uuid = define(pair, 1)
    pair.east.run(VmSnapshotCreate(uuid, "mine", Purpose.USER))
    for _ in range(6):
        run(pair)
    here, there = snapshots(pair.east, uuid), snapshots(pair.west, uuid)
    assert len(here) == 2 + 1
    assert "mine" in here
    assert len(there) == 3
    assert pair.east.state.get(records.mirror(uuid)).value.shared in {*here} & {*there}


def test_all_that_piled_up_is_removed_in_one_run(pair: Pair) -> None:
    uuid = define(pair, 1)
    for number in range(9):
        pair.east.run(VmSnapshotCreate(uuid, f"mirror-{number}", Purpose.MIRROR))
    run(pair)
    assert len(snapshots(pair.east, uuid)) == PLAN.keep


def test_one_machine_that_fails_does_not_keep_the_others_from_it(pair: Pair) -> None:
    broken, fine = define(pair, 1), define(pair, 2)
    pair.east.blocks.remove("vms", "disk1")
    reports = FakeReports()
    with pytest.raises(Failed, match="vm1") as caught:
        run(pair, reports)
    assert any("vm1" in line for line in caught.value.left)
    assert snapshots(pair.west, fine)
    assert not snapshots(pair.west, broken)
    assert [outcome.succeeded for outcome in reports.sent[0][0].outcomes] == [False, True]


def test_nothing_is_removed_while_the_other_side_is_away(pair: Pair) -> None:
    uuid = define(pair, 1)
    run(pair)
    (kept,) = snapshots(pair.west, uuid)
    pair.to_west.away = True
    for _ in range(4):
        with pytest.raises(Failed):
            run(pair)
    assert kept in snapshots(pair.east, uuid)
    pair.to_west.away = False
    run(pair)
    assert len(snapshots(pair.west, uuid)) >= 2


def test_clocks_an_hour_apart_confuse_neither_retention_nor_what_is_sent_next(pair: Pair) -> None:
    """What the second site made while it led is of the future, by the clock of the first."""
    pair.west.lab.clock.advance(3600)
    uuid = define(pair, 1)
    pair.east.run(VmMirrorPromote(uuid, "west"))
    for _ in range(4):
        pair.west.lab.clock.advance(60)
        pair.west.run(VmMirrorCreate(uuid, "east"))
    pair.west.run(VmMirrorPromote(uuid, "east"))
    from_west = snapshots(pair.east, uuid)
    for name in from_west[:4]:
        pair.west.run(VmSnapshotRemove(uuid, name))
    sent = []
    for _ in range(3):
        run(pair)
        sent.append(pair.east.state.get(records.mirror(uuid)).value.shared)
    assert not {*sent} & {*from_west}
    assert snapshots(pair.east, uuid) == sent[-2:]
    assert snapshots(pair.west, uuid) == sent
