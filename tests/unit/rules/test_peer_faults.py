"""What is raised about mirrors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, PeerWatch, Promotion, Transfer
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import RunState, VmState
from pvc_core.rules.capacity import survives
from pvc_core.rules.faults import changes, conditions, look
from tests.unit.rules.cluster import cluster, machine, node

NOW = 10_000.0
FIRST = Lineage((Promotion(1, "fsid-east", "", forced=False, time=100.0),))
TAKEN = Lineage((*FIRST.promotions, Promotion(2, "fsid-west", "s1", forced=True, time=200.0)))
CHOSEN = Lineage((*FIRST.promotions, Promotion(2, "fsid-east", "s1", forced=True, time=300.0)))
LEADS = Mirror("web", "west", MirrorRole.PRIMARY, FIRST, shared="s1", shared_created=NOW - 30, goal=120.0)
WATCH = PeerWatch(
    "west", since=0.0, attempted=NOW, answered=NOW, mirrors={"web": replace(LEADS, role=MirrorRole.SECONDARY)}
)


def found(mirror: Mirror, watch: PeerWatch | None = WATCH, **machine_fields: object) -> dict[str, str]:
    snapshot = cluster(node("n1"), machine("web", "n1", **machine_fields))  # type: ignore[arg-type]
    peers = {} if watch is None else {"west": watch}
    return names(replace(snapshot, mirrors={"web": mirror}, peers=peers))


def names(snapshot: ClusterSnapshot) -> dict[str, str]:
    return {finding.name: finding.message for finding in conditions(snapshot)}


def test_a_mirror_that_keeps_up_is_no_fault() -> None:
    assert found(LEADS) == {}


@pytest.mark.parametrize(("age", "late"), [(120, False), (121, True)])
def test_a_lag_beyond_the_goal(age: int, late: bool) -> None:
    assert ("mirror-lag:web" in found(replace(LEADS, shared_created=NOW - age))) is late


def test_without_a_goal_no_lag_is_a_fault() -> None:
    assert found(replace(LEADS, shared_created=0.0, goal=0.0)) == {}


def test_a_mirror_that_never_got_its_first_snapshot() -> None:
    assert "9900 s behind" in found(replace(LEADS, shared="", shared_created=0.0))["mirror-lag:web"]


def test_a_peer_that_does_not_answer() -> None:
    assert found(LEADS, replace(WATCH, answered=NOW - 60)) == {}
    assert set(found(LEADS, replace(WATCH, answered=NOW - 61))) == {"peer-silent:west"}
    idle = replace(cluster(node("n1")), peers={"west": replace(WATCH, answered=0.0)})
    assert names(idle) == {}


def test_a_superseded_machine_names_the_way_out() -> None:
    message = found(replace(LEADS, role=MirrorRole.SUPERSEDED), state=VmState.MIRROR)["superseded:web"]
    assert "pvc vm mirror resync web" in message


def test_both_sides_promoted() -> None:
    fork = replace(WATCH, mirrors={"web": replace(LEADS, lineage=TAKEN)})
    assert "forked:web" in found(replace(LEADS, lineage=CHOSEN), fork)


def test_a_handover_nobody_works_on() -> None:
    handing = replace(LEADS, role=MirrorRole.HANDING, lineage=TAKEN)
    assert "handing:web" in found(handing, state=VmState.MIRROR)
    snapshot = cluster(node("n1"), machine("web", "n1", state=VmState.MIRROR))
    busy = replace(snapshot, mirrors={"web": handing}, peers={"west": WATCH}, locks={"vm:web": "task"})
    assert "handing:web" not in names(busy)


def test_a_machine_that_waits_for_an_answer() -> None:
    back = replace(WATCH, since=NOW - 30, answered=NOW - 4000)
    assert "pvc vm start --force web" in found(LEADS, back, run=RunState.STOPPED)["unheard:web"]
    assert "unheard:web" not in found(LEADS, back), "it runs"
    assert "unheard:web" not in found(LEADS, back, state=VmState.STOP), "it is not to run"


def test_a_mirror_takes_no_room_until_it_is_promoted() -> None:
    copy = machine("copy", "n1", 4096, state=VmState.MIRROR)
    assert survives(cluster(node("n1"), node("n2", free=10), copy)) == ()


def test_a_machine_that_leads_without_knowing_its_former_side_by_name() -> None:
    assert "pvc peer add" in found(replace(LEADS, peer=""))["nameless:web"]
    assert found(replace(LEADS, peer="", role=MirrorRole.SECONDARY), state=VmState.MIRROR) == {}


def test_a_snapshot_of_which_nothing_more_comes_is_a_fault_after_an_hour() -> None:
    transfer = Transfer("t1", "web", "s2", "s1", "fsid-east", {"vms/web": "vms/web"}, NOW, "{}")
    snapshot = replace(cluster(node("n1"), machine("web", "n1")), transfers={"web": transfer})
    assert "pvc vm snapshot abandon web s2" in names(snapshot)["transfer:t1"]
    assert names(replace(snapshot, locks={"volume:vms:web": "t1"})) == {}
    seen = look(look({}, conditions(snapshot), NOW), conditions(snapshot), NOW + 3599)
    assert changes({}, seen, NOW + 3599) == {}
    seen = look(seen, conditions(snapshot), NOW + 3600)
    assert [fault.name for fault in changes({}, seen, NOW + 3600).values() if fault] == ["transfer:t1"]
