"""What a node does about its machines, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.config import TimingConfig
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import Domain, DomainRun, Migration, RunState, Vm, VmMeta, VmState, VmStatus
from pvc_core.rules import lifecycle
from pvc_core.rules.lifecycle import Action, Destroy, Pressed, PressPowerButton, Record, Release, Sight, Start

UUID = "11111111-1111-1111-1111-111111111111"
NOW = 1_000_000.0
TIMING = TimingConfig(restart_backoff=2.0, restart_limit=5, restart_reset=60.0, vm_shutdown_timeout=180.0)


def machine(state: VmState = VmState.START, **fields: Any) -> Vm:
    return Vm(UUID, "web", state, **({"node": "node1"} | fields))


def status(run: RunState = RunState.RUNNING, **fields: Any) -> VmStatus:
    return VmStatus(run, **({"node": "node1", "incarnation": 7, "since": NOW - 10} | fields))


def domain(run: DomainRun = DomainRun.RUNNING, reason: str = "") -> Domain:
    return Domain(UUID, "web", run, reason)


def ended(reason: str) -> Domain:
    return domain(DomainRun.SHUTOFF, reason)


def decide(
    vm: Vm | None,
    seen: VmStatus | None,
    here: Domain | None,
    *,
    pressed: float | tuple[float, float] | None = None,
    autostart: bool = False,
    now: float = NOW,
    node: str = "node1",
    locks: dict[str, str] | None = None,
) -> Action | None:
    vms = {} if vm is None else {UUID: VmEntry(vm, 3, seen, -1 if seen is None else 4)}
    snapshot = ClusterSnapshot(vms=vms, locks=locks or {})
    sight = Sight(
        node,
        7,
        {} if here is None else {UUID: here},
        {} if pressed is None else {UUID: Pressed(*(pressed if isinstance(pressed, tuple) else (pressed, pressed)))},
        TIMING,
        autostart,
    )
    actions = lifecycle.decide(snapshot, sight, now)
    assert len(actions) <= 1
    return actions[0] if actions else None


STOPPED = status(RunState.STOPPED)
RUNNING = status()


@pytest.mark.parametrize(
    ("vm", "seen", "here"),
    [
        pytest.param(machine(), RUNNING, domain(), id="runs as wanted"),
        pytest.param(machine(), RUNNING, domain(DomainRun.PAUSED, "ioerror"), id="paused by an error"),
        pytest.param(machine(), RUNNING, domain(DomainRun.PAUSED, "migration"), id="handed over a moment ago"),
        pytest.param(machine(VmState.STOP), STOPPED, None, id="stopped as wanted"),
        pytest.param(machine(VmState.STOP), replace(STOPPED, node="node2"), None, id="stopped elsewhere"),
        pytest.param(machine(VmState.DISABLE), STOPPED, None, id="disabled as wanted"),
        pytest.param(machine(VmState.PROVISION), STOPPED, None, id="being made"),
        pytest.param(machine(), status(RunState.FAILED, crashes=5), None, id="failed stays failed"),
        pytest.param(machine(), replace(RUNNING, node="node2"), None, id="may still run on the node it came from"),
        pytest.param(
            machine(), replace(RUNNING, node="node2", run=RunState.STARTING), None, id="is being started elsewhere"
        ),
        pytest.param(machine(VmState.STOP), replace(RUNNING, node="node2"), None, id="is being stopped elsewhere"),
        pytest.param(machine(node="node2"), replace(RUNNING, node="node2"), None, id="another node's"),
        pytest.param(machine(node="node2"), replace(RUNNING, node="node2"), ended("migrated"), id="moved away"),
        pytest.param(
            machine(node="node2"), RUNNING, domain(DomainRun.PAUSED, "migration"), id="handed over, about to end"
        ),
    ],
)
def test_nothing_is_done(vm: Vm, seen: VmStatus, here: Domain | None) -> None:
    assert decide(vm, seen, here) is None


@pytest.mark.parametrize(
    ("seen", "crashes"),
    [
        pytest.param(None, 0, id="nobody has looked at it yet"),
        pytest.param(status(RunState.UNKNOWN), 0, id="its state is not known"),
        pytest.param(STOPPED, 0, id="it is stopped"),
        pytest.param(replace(STOPPED, node="node2"), 0, id="it was stopped on another node"),
        pytest.param(status(RunState.STARTING, crashes=2), 2, id="an earlier start broke off"),
        pytest.param(status(RunState.FAILED, crashes=5, generation=-1), 0, id="an older generation failed"),
        pytest.param(status(RunState.RUNNING, generation=-1), 0, id="its older generation has ended"),
        pytest.param(status(incarnation=6), 0, id="it ended while the daemon was away"),
    ],
)
def test_a_wanted_machine_that_runs_nowhere_is_claimed_and_started(seen: VmStatus | None, crashes: int) -> None:
    action = decide(machine(), seen, None)
    assert isinstance(action, Start)
    assert action.claim == VmStatus(RunState.STARTING, "node1", 7, generation=0, since=NOW, crashes=crashes)
    assert (action.subject.vm_version, action.subject.status_version) == (3, -1 if seen is None else 4)


@pytest.mark.parametrize("reason", ["crashed", "destroyed", "failed", ""])
def test_the_first_crash_is_answered_at_once(reason: str) -> None:
    action = decide(machine(), RUNNING, ended(reason))
    assert isinstance(action, Start)
    assert action.claim.crashes == 1
    assert "ended unexpectedly" in action.why


@pytest.mark.parametrize(("earlier", "delay"), [(1, 2), (2, 4), (3, 8)])
def test_further_crashes_in_a_row_wait_twice_as_long_each(earlier: int, delay: float) -> None:
    action = decide(machine(), replace(RUNNING, crashes=earlier), ended("crashed"))
    assert isinstance(action, Record)
    assert action.vm is None
    assert action.status == VmStatus(
        RunState.STOPPED, "node1", 7, since=NOW, reason="it ended unexpectedly (crashed)", crashes=earlier + 1
    )
    assert decide(machine(), action.status, ended("crashed"), now=NOW + delay - 0.1) is None
    again = decide(machine(), action.status, ended("crashed"), now=NOW + delay)
    assert isinstance(again, Start)
    assert again.claim.crashes == earlier + 1


def test_a_clock_that_was_set_back_does_not_prolong_the_wait() -> None:
    waiting = status(RunState.STOPPED, crashes=4, since=NOW)
    assert isinstance(decide(machine(), waiting, None, now=NOW - 3600), Start)


def test_crashing_too_often_fails_with_the_reason() -> None:
    action = decide(machine(), replace(RUNNING, crashes=4), ended("crashed"))
    assert isinstance(action, Record)
    assert action.status is not None
    assert action.status.run is RunState.FAILED
    assert action.status.reason == "it ended unexpectedly (crashed); given up after 5 attempts in a row"


def test_a_run_that_lasted_ends_a_row_of_crashes() -> None:
    action = decide(machine(), replace(RUNNING, crashes=4, since=NOW - 60), ended("crashed"))
    assert isinstance(action, Start)
    assert action.claim.crashes == 1


def test_a_start_that_fails_counts_like_a_crash() -> None:
    claim = status(RunState.STARTING, crashes=1)
    after = lifecycle.start_failed(claim, "no such disk", NOW, TIMING)
    assert (after.run, after.crashes, after.reason, after.since) == (RunState.STOPPED, 2, "no such disk", NOW)
    last = lifecycle.start_failed(replace(claim, crashes=4), "no such disk", NOW, TIMING)
    assert last.run is RunState.FAILED
    assert last.reason.startswith("no such disk;")


def test_a_guest_that_powers_itself_off_is_stopped() -> None:
    action = decide(machine(), RUNNING, ended("shutdown"))
    assert isinstance(action, Record)
    assert action.vm == machine(VmState.STOP)
    assert action.status == VmStatus(RunState.STOPPED, "node1", 7, since=NOW)


def test_a_guest_that_was_asked_to_power_off_and_is_wanted_again_is_started() -> None:
    action = decide(machine(), RUNNING, ended("shutdown"), pressed=30.0)
    assert isinstance(action, Start)
    assert action.claim.crashes == 0


def test_a_handover_that_was_given_up_leaves_the_other_node_time_to_destroy_its_copy() -> None:
    action = decide(machine(), RUNNING, ended("migrated"))
    assert isinstance(action, Record)
    assert action.status is not None
    assert lifecycle.backoff(action.status.crashes, TIMING) == 4.0


@pytest.mark.parametrize("state", [VmState.STOP, VmState.DISABLE])
@pytest.mark.parametrize("run", [DomainRun.RUNNING, DomainRun.PAUSED])
def test_what_should_not_run_is_destroyed(state: VmState, run: DomainRun) -> None:
    assert isinstance(decide(machine(state), RUNNING, domain(run)), Destroy)


@pytest.mark.parametrize("state", [VmState.STOP, VmState.DISABLE, VmState.PROVISION])
@pytest.mark.parametrize(
    "seen",
    [
        None,
        RUNNING,
        status(RunState.STARTING),
        status(RunState.FAILED, reason="x", crashes=5),
        status(RunState.STOPPED, crashes=2, reason="x"),
        status(RunState.UNKNOWN),
    ],
)
def test_what_does_not_run_and_should_not_is_recorded_as_stopped(state: VmState, seen: VmStatus | None) -> None:
    action = decide(machine(state), seen, None)
    assert isinstance(action, Record)
    assert action.vm is None
    assert action.status == VmStatus(RunState.STOPPED, "node1", 7, since=NOW)


SHUTDOWN = machine(VmState.SHUTDOWN, shutdown_deadline=NOW + 100)


def test_shutdown_presses_the_power_button_and_again_while_the_guest_takes_no_notice() -> None:
    assert isinstance(decide(SHUTDOWN, RUNNING, domain()), PressPowerButton)
    assert decide(SHUTDOWN, RUNNING, domain(), pressed=14.9) is None
    assert isinstance(decide(SHUTDOWN, RUNNING, domain(), pressed=15.0), PressPowerButton)
    assert decide(SHUTDOWN, RUNNING, domain(), pressed=(20.0, 5.0)) is None


def test_shutdown_cuts_the_power_at_the_deadline() -> None:
    assert isinstance(decide(SHUTDOWN, RUNNING, domain(), pressed=100.0, now=NOW + 100), Destroy)


@pytest.mark.parametrize("reason", ["shutdown", "destroyed", "crashed", ""])
def test_shutdown_ends_in_stop_however_the_domain_ended(reason: str) -> None:
    action = decide(SHUTDOWN, RUNNING, ended(reason), pressed=5.0)
    assert isinstance(action, Record)
    assert action.vm == machine(VmState.STOP)
    assert action.status is not None
    assert action.status.run is RunState.STOPPED


def test_a_restart_powers_the_older_generation_off_then_destroys_it_then_starts_the_new_one() -> None:
    vm = machine(generation=2)
    old = replace(RUNNING, generation=1)
    assert isinstance(decide(vm, old, domain()), PressPowerButton)
    assert decide(vm, old, domain(), pressed=(179.0, 5.0)) is None
    assert isinstance(decide(vm, old, domain(), pressed=(180.0, 5.0)), Destroy)
    for reason in ("shutdown", "destroyed", "crashed"):
        action = decide(vm, old, ended(reason), pressed=20.0)
        assert isinstance(action, Start)
        assert action.claim.generation == 2
        assert action.claim.crashes == 0


@pytest.mark.parametrize(
    ("seen", "generation"),
    [
        pytest.param(None, 3, id="no record yet"),
        pytest.param(status(incarnation=6, generation=2), 2, id="an earlier daemon's"),
        pytest.param(status(RunState.STARTING, generation=2), 2, id="the daemon died while it started"),
        pytest.param(status(RunState.STOPPED, generation=2), 3, id="started past the record"),
        pytest.param(status(RunState.FAILED, generation=3, reason="x"), 3, id="failed, yet it runs"),
    ],
)
def test_a_machine_that_runs_here_is_adopted(seen: VmStatus | None, generation: int) -> None:
    action = decide(machine(generation=3), seen, replace(domain(), vnc_listen="0.0.0.0", vnc_port=5901))
    assert isinstance(action, Record)
    assert action.vm is None
    assert action.status is not None
    assert (action.status.run, action.status.incarnation) == (RunState.RUNNING, 7)
    assert (action.status.generation, action.status.reason) == (generation, "")
    assert (action.status.vnc_listen, action.status.vnc_port) == ("0.0.0.0", 5901)


def test_adopting_keeps_since_when_it_ran() -> None:
    action = decide(machine(), status(incarnation=6, since=NOW - 500), domain())
    assert isinstance(action, Record)
    assert action.status == status(since=NOW - 500)


MIGRATING = machine(node="node1", last_node="", migration=Migration("node2", "task", "node1"))
STATES = list(VmState)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("here", [None, domain(), domain(DomainRun.PAUSED), ended("migrated"), ended("crashed")])
def test_the_source_leaves_a_migrating_machine_alone(state: VmState, here: Domain | None) -> None:
    assert decide(replace(MIGRATING, state=state, generation=5), RUNNING, here) is None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("here", [None, domain(DomainRun.PAUSED, "migration"), domain(DomainRun.PAUSED)])
def test_the_target_leaves_a_machine_alone_that_is_still_received(state: VmState, here: Domain | None) -> None:
    assert decide(replace(MIGRATING, state=state), RUNNING, here, node="node2") is None


def test_the_target_completes_the_record_once_the_machine_runs_there() -> None:
    seen = status(generation=4, crashes=2, since=NOW - 500)
    action = decide(replace(MIGRATING, generation=5), seen, domain(), node="node2")
    assert isinstance(action, Record)
    assert action.vm == machine(node="node2", last_node="node1", generation=5)
    assert action.status == replace(seen, node="node2")


def test_a_third_node_destroys_a_migrating_machine_it_finds() -> None:
    assert isinstance(decide(MIGRATING, RUNNING, domain(), node="node3"), Destroy)


@pytest.mark.parametrize("run", [DomainRun.RUNNING, DomainRun.PAUSED])
def test_another_nodes_machine_is_destroyed_here(run: DomainRun) -> None:
    action = decide(machine(node="node2"), replace(RUNNING, node="node2"), domain(run))
    assert isinstance(action, Destroy)
    assert action.why == "it belongs to node node2"


def test_a_machine_given_to_another_node_is_released_once_it_runs_here_no_more() -> None:
    action = decide(machine(node="node2"), RUNNING, ended("destroyed"))
    assert isinstance(action, Record)
    assert action.vm is None
    assert action.status is not None
    assert action.status.run is RunState.STOPPED


def test_a_domain_the_cluster_does_not_know_is_destroyed() -> None:
    action = decide(None, None, domain())
    assert isinstance(action, Destroy)
    assert action.subject.vm_version == -1
    assert decide(None, None, ended("crashed")) is None
    assert decide(None, None, domain(DomainRun.PAUSED, "migration")) is None


def test_autostart_wants_the_machine_once_and_clears_its_flag() -> None:
    vm = machine(VmState.STOP, meta=VmMeta(node_autostart=True))
    assert decide(vm, STOPPED, None) is None
    action = decide(vm, STOPPED, None, autostart=True)
    assert isinstance(action, Record)
    assert action.vm == machine(VmState.START)
    assert decide(machine(VmState.STOP), STOPPED, None, autostart=True) is None
    disabled = machine(VmState.DISABLE, meta=VmMeta(node_autostart=True))
    assert decide(disabled, STOPPED, None, autostart=True) is None


def test_equal_decisions_have_equal_ids_and_a_new_version_has_another() -> None:
    first, second = decide(SHUTDOWN, RUNNING, domain()), decide(SHUTDOWN, RUNNING, domain(), now=NOW + 1)
    assert first is not None
    assert second is not None
    assert first.id == second.id
    changed = lifecycle.decide(
        ClusterSnapshot(vms={UUID: VmEntry(SHUTDOWN, 4, RUNNING, 4)}),
        Sight("node1", 7, {UUID: domain()}, {}, TIMING),
        NOW,
    )
    assert changed[0].id != first.id


HELD = machine(held="task-1")
STILL = domain(DomainRun.PAUSED, "user")


@pytest.mark.parametrize("locks", [{}, {f"vm:{UUID}": "task-2"}])
def test_a_machine_whose_holder_is_gone_is_let_go_on(locks: dict[str, str]) -> None:
    action = decide(HELD, RUNNING, STILL, locks=locks)
    assert isinstance(action, Release)
    assert (action.task, action.vm) == ("task-1", machine())
    assert action.why == "task task-1, which held it, is gone"


def test_a_machine_is_left_to_the_task_that_holds_it() -> None:
    assert decide(HELD, RUNNING, STILL, locks={f"vm:{UUID}": "task-1"}) is None


@pytest.mark.parametrize(
    ("vm", "seen", "here"),
    [
        pytest.param(replace(HELD, state=VmState.SHUTDOWN, shutdown_deadline=NOW + 9), RUNNING, STILL, id="shut down"),
        pytest.param(HELD, status(RunState.STOPPED), None, id="ended while it was held"),
        pytest.param(replace(HELD, state=VmState.STOP), STOPPED, None, id="stopped"),
        pytest.param(HELD, RUNNING, domain(), id="runs by now"),
    ],
)
def test_a_hold_that_was_left_ends_first(vm: Vm, seen: VmStatus, here: Domain | None) -> None:
    assert isinstance(decide(vm, seen, here), Release)


def test_a_machine_that_was_left_standing_is_stopped_where_that_is_wanted() -> None:
    assert isinstance(decide(replace(HELD, state=VmState.STOP), RUNNING, STILL), Destroy)


@pytest.mark.parametrize(
    "vm",
    [
        pytest.param(replace(HELD, node="node2"), id="another node's"),
        pytest.param(replace(HELD, migration=Migration("node2", "task-2")), id="being moved"),
    ],
)
def test_only_the_node_of_a_machine_lets_it_go_on(vm: Vm) -> None:
    assert not isinstance(decide(vm, RUNNING, STILL), Release)
