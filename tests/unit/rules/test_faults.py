"""What is wrong now, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.model.capacity import Capacity, Shortfall
from pvc_core.model.fault import Fault, FaultStatus, Finding, raised
from pvc_core.model.fence import Attempt, Fence, FenceStep, Method
from pvc_core.model.node import Bmc
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Vm, VmState
from pvc_core.rules import faults
from pvc_core.rules.faults import Sighting, changes, conditions, look
from tests import records
from tests.records import ALIVE, node_entry, vm_entry

T = 1_700_000_000.0
CAUSE = Finding("vm-failed:u", "", 10, "VM web: no disk")
FAULT = raised(CAUSE, T, T)
EVENT = raised(Finding("fenced:n2:1", "n2", 10, "n2: was fenced", event=True), T, T)


def node(name: str, *, alive: bool = True, stopped: bool = False, bmc: bool = True) -> NodeEntry:
    wanted = records.node(name, bmc=Bmc("bmc", "pvc") if bmc else None, stopped=stopped)
    return node_entry(wanted, ALIVE if alive else None)


def machine(name: str, run: RunState, on: str = "n2", reason: str = "") -> VmEntry:
    return vm_entry(Vm(f"uuid-{name}", name, VmState.START, on), run, reason=reason)


def cluster(*machines: VmEntry, n2: NodeEntry | None = None, fence: Fence | None = None) -> ClusterSnapshot:
    return ClusterSnapshot(
        nodes={"n1": node("n1"), "n2": n2 or node("n2")},
        vms={entry.vm.uuid: entry for entry in machines},
        fences={} if fence is None else {"n2": FenceEntry(fence, 0)},
    )


def fence(step: FenceStep, **fields: object) -> Fence:
    base = Fence("n2", "boot", ("10.0.0.2",), step, T, T, "it has shown no sign of life")
    return replace(base, **fields)  # type: ignore[arg-type]


def found(snapshot: ClusterSnapshot) -> dict[str, Finding]:
    return {finding.name: finding for finding in conditions(snapshot)}


def test_a_cluster_that_is_well_has_no_conditions() -> None:
    assert conditions(cluster(machine("web", RunState.RUNNING))) == ()


def test_a_dead_node_is_a_condition_but_not_in_maintenance() -> None:
    snapshot = cluster(n2=node("n2", alive=False))
    assert found(snapshot)["node-down:n2"].node == "n2"
    assert conditions(replace(snapshot, maintenance=True)) == ()


def test_a_daemon_that_stopped_in_good_order_leaves_its_machines_unguarded() -> None:
    stopped = node("n2", alive=False, stopped=True)
    assert set(found(cluster(n2=stopped))) == {"node-down:n2"}
    unguarded = found(cluster(machine("web", RunState.RUNNING), n2=stopped))
    assert set(unguarded) == {"unguarded:n2"}
    assert "VM web" in unguarded["unguarded:n2"].message


def test_a_failed_fence_says_what_each_method_said_and_what_to_do() -> None:
    failed = fence(FenceStep.FAILED, power=Attempt(acted=True, message="no answer within 5 s"))
    dead = node("n2", alive=False)
    snapshot = cluster(machine("web", RunState.RUNNING), n2=dead, fence=failed)
    message = found(snapshot)["fence-failed:n2"].message
    for part in ("VM web", "storage: no answer yet", "power: no answer within 5 s", "pvc node fence-confirm n2"):
        assert part in message
    without_bmc = cluster(n2=node("n2", alive=False, bmc=False), fence=fence(FenceStep.FAILED))
    assert "power: the node has no BMC in its configuration" in found(without_bmc)["fence-failed:n2"].message
    assert "fence-failed:n2" in found(replace(snapshot, maintenance=True))


def test_a_fence_under_way_is_no_condition_beside_the_dead_node() -> None:
    for step in (FenceStep.FENCING, FenceStep.RECOVERING):
        assert set(found(cluster(n2=node("n2", alive=False), fence=fence(step)))) == {"node-down:n2"}


def test_machines_that_a_fence_by_storage_does_not_free_are_named() -> None:
    by_storage = fence(FenceStep.FENCED, confirmed_by=Method.STORAGE, storage=Attempt(confirmed=True))
    dead = node("n2", alive=False)
    assert "fence-failed:n2" not in found(cluster(n2=dead, fence=by_storage))
    message = found(cluster(machine("local", RunState.RUNNING), n2=dead, fence=by_storage))["fence-failed:n2"].message
    assert "VM local" in message
    assert "storage: confirmed" in message


def test_each_failed_machine_is_a_condition_of_its_own_and_all_that_wait_are_one() -> None:
    reason = "n1 is short of memory"
    waiting = [machine(f"w{number:02}", RunState.WAITING, reason=reason) for number in range(12)]
    failed = machine("web", RunState.FAILED, reason="no disk")
    conditions_by_name = found(cluster(failed, *waiting))
    assert conditions_by_name["vm-failed:uuid-web"] == Finding("vm-failed:uuid-web", "", 10, "VM web: no disk")
    assert set(conditions_by_name) == {"vm-failed:uuid-web", "waiting:vms"}
    together = conditions_by_name["waiting:vms"]
    assert together.health_delta == 50
    assert "w00 (n1 is short of memory)" in together.message
    assert together.message.endswith("and 2 more")


def test_a_cluster_that_could_not_lose_a_node_is_a_condition_but_not_in_maintenance() -> None:
    short = Capacity((Shortfall("n1", ("db", "web")), Shortfall("n2", ("mail",))))
    snapshot = replace(cluster(), capacity=short)
    assert "2 of the VMs on n1" in found(snapshot)["n-1:cluster"].message
    assert conditions(replace(snapshot, maintenance=True)) == ()
    assert conditions(replace(snapshot, capacity=Capacity())) == ()


def test_a_confirmed_fence_is_an_event_of_its_node() -> None:
    event = faults.fenced(fence(FenceStep.RECOVERING, confirmed_by=Method.POWER))
    assert (event.event, event.node) == (True, "n2")
    assert "confirmed by power" in event.message
    later = faults.fenced(fence(FenceStep.RECOVERING, confirmed_by=Method.POWER, began=T + 60))
    assert later.id != event.id


def run(known: dict[str, Fault], *looks: tuple[float, list[Finding]]) -> dict[str, Fault]:
    """The faults after these looks, each with its time and what it found."""
    seen: dict[str, Sighting] = {}
    for now, findings in looks:
        seen = look(seen, findings, now)
        for key, fault in changes(known, seen, now).items():
            known = {k: v for k, v in known.items() if k != key} | ({key: fault} if fault is not None else {})
        seen = {key: sighting for key, sighting in seen.items() if sighting.last == now}
    return known


def test_what_lasts_is_raised_with_the_time_at_which_it_began() -> None:
    assert run({}, (T, [CAUSE]), (T + 9, [CAUSE])) == {}
    assert run({}, (T, [CAUSE]), (T + 10, [CAUSE])) == {CAUSE.id: replace(FAULT, last_reported=T + 10)}


def test_what_was_away_between_two_looks_begins_anew() -> None:
    assert run({}, (T, [CAUSE]), (T + 2, []), (T + 4, [CAUSE]), (T + 10, [CAUSE])) == {}


def test_a_fault_that_goes_on_is_written_once_a_minute() -> None:
    known = {FAULT.id: FAULT}
    changed = replace(CAUSE, message="VM web: still no disk")
    assert run(known, (T + 59, [changed])) == known
    assert run(known, (T + 60, [changed])) == {
        FAULT.id: replace(FAULT, last_reported=T + 60, message="VM web: still no disk")
    }


def test_a_fault_whose_cause_is_gone_is_over_and_keeps_when_it_was_last_seen() -> None:
    after = run({FAULT.id: FAULT}, (T + 40, [CAUSE]), (T + 42, []), (T + 44, []))
    assert after == {FAULT.id: replace(FAULT, over=True, last_reported=T + 40)}
    assert not after[FAULT.id].counts


def test_a_flapping_cause_has_one_record_and_few_writes() -> None:
    known, written = {FAULT.id: FAULT}, 0
    for second in range(0, 60, 4):
        before = known
        known = run(known, (T + second, [CAUSE]), (T + second + 2, []))
        written += known != before
    assert list(known) == [FAULT.id]
    assert known[FAULT.id].first_reported == T
    assert written == 1


def test_a_cause_that_comes_back_and_stays_goes_on_with_its_record() -> None:
    over = replace(FAULT, over=True)
    looks = [(T + 3600 + second, [CAUSE]) for second in range(0, 11, 2)]
    assert run({FAULT.id: over}, *looks) == {FAULT.id: replace(FAULT, last_reported=T + 3610)}


def test_what_is_over_stays_until_it_was_seen() -> None:
    over = replace(FAULT, over=True)
    assert run({FAULT.id: over}, (T + faults.UNSEEN - 1, [])) == {FAULT.id: over}
    assert run({FAULT.id: over}, (T + faults.UNSEEN, [])) == {}
    seen = replace(over, status=FaultStatus.ACK, acknowledged_at=T + 3600)
    assert run({FAULT.id: seen}, (T + 3600 + faults.SEEN - 1, [])) == {FAULT.id: seen}
    assert run({FAULT.id: seen}, (T + 3600 + faults.SEEN, [])) == {}


def test_an_acknowledged_fault_stays_so_while_its_cause_does() -> None:
    seen = replace(FAULT, status=FaultStatus.ACK, acknowledged_at=T + 5)
    assert run({FAULT.id: seen}, (T + 7200, [CAUSE])) == {FAULT.id: replace(seen, last_reported=T + 7200)}


def test_an_acknowledged_fault_that_gets_worse_is_new_again() -> None:
    seen = replace(FAULT, status=FaultStatus.ACK, acknowledged_at=T + 5)
    after = run({FAULT.id: seen}, (T + 10, [replace(CAUSE, health_delta=50)]))
    assert after == {FAULT.id: replace(FAULT, health_delta=50, last_reported=T + 10)}


def test_an_event_stands_until_it_is_acknowledged() -> None:
    known = {EVENT.id: EVENT}
    assert run(known, (T + 2 * faults.UNSEEN, [])) == known
    assert EVENT.counts
    seen = replace(EVENT, status=FaultStatus.ACK, acknowledged_at=T + 10)
    assert run({EVENT.id: seen}, (T + 10 + faults.SEEN, [])) == {}


def test_the_number_of_faults_is_limited_and_the_worst_come_first() -> None:
    many = [Finding(f"vm-failed:{number}", "", 10, "") for number in range(faults.LIMIT)]
    dead = Finding("node-down:n2", "n2", 50, "")
    known = run({}, (T, [*many, dead]), (T + 10, [*many, dead]), (T + 12, [*many, dead]))
    assert len(known) == faults.LIMIT
    assert dead.id in known


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_loses_no_fault_that_goes_on(jump: float) -> None:
    after = run({FAULT.id: FAULT}, (T + 2, [CAUSE]), (T + 2 + jump, [CAUSE]))
    assert after == {FAULT.id: replace(FAULT, last_reported=T + 2 + jump)}


def test_a_fault_shows_what_is_to_be_said_of_it_now() -> None:
    failed = machine("web", RunState.FAILED, reason="no such image")
    cause = conditions(cluster(failed))[0]
    old = raised(replace(cause, message="VM web: no disk"), T, T)
    snapshot = replace(cluster(failed), faults={old.id: old, EVENT.id: EVENT})
    assert faults.up_to_date(snapshot) == [replace(old, message="VM web: no such image"), EVENT]
