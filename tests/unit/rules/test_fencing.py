from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.config import FencingConfig
from pvc_core.model.fence import Attempt, Fence, FenceStep, Method
from pvc_core.model.node import Addresses, Alive, Bmc, DaemonState, Primary
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, NodeEntry, VmEntry
from pvc_core.model.vm import Migration, RunState, Vm, VmState, VmStatus
from pvc_core.rules import fencing
from pvc_core.rules.fencing import Advance, Begin, CallOff, Close, DropOsds, PowerOn, Recover, Sight, Try
from tests import records
from tests.records import node_entry, vm_entry

CONFIG = FencingConfig()
BMC = Bmc("10.0.5.3", "admin")
NOW = 1_700_000_000.0


def node(name: str, *, alive: str | None = "boot", fence: Fence | None = None, **fields: Any) -> NodeEntry:
    fields.setdefault("bmc", BMC)
    addresses = Addresses(storage=f"10.0.3.{name[1:]}/24", cluster=f"10.0.2.{name[1:]}/24")
    sign = Alive(alive, 1, DaemonState.RUN, 1) if alive is not None else None
    return node_entry(records.node(name, addresses=addresses, boot_id="boot", **fields), sign, fence=fence)


def snapshot(*nodes: NodeEntry, **fields: Any) -> ClusterSnapshot:
    fields.setdefault("primary", Primary("n1", 1))
    fences = {entry.node.name: FenceEntry(entry.fence, 0) for entry in nodes if entry.fence is not None}
    return ClusterSnapshot(nodes={entry.node.name: entry for entry in nodes}, fences=fences, **fields)


def fence(step: FenceStep, name: str = "n3", **fields: Any) -> Fence:
    return Fence(name, "boot", (f"10.0.2.{name[1:]}", f"10.0.3.{name[1:]}"), step, NOW, NOW, "silent", **fields)


def sight(*due: str, age: float = 0.0, **fields: Any) -> Sight:
    fields = {"tried": {}, "dropped": frozenset({"n1", "n2", "n3"}), **fields}
    return Sight("n1", frozenset(due), {"n2": age, "n3": age}, **fields)


def decide(picture: ClusterSnapshot, seen: Sight, config: FencingConfig = CONFIG) -> list[fencing.Action]:
    return fencing.decide(picture, seen, config, NOW)


def fenced_n3(step: FenceStep, **fields: Any) -> ClusterSnapshot:
    return snapshot(node("n1"), node("n2"), node("n3", alive=None, fence=fence(step, **fields)))


def test_a_silent_node_is_fenced_once_its_saving_throw_is_over() -> None:
    picture = snapshot(node("n1"), node("n2"), node("n3", alive=None))
    assert decide(picture, sight()) == []
    [begin] = decide(picture, sight("n3"))
    assert isinstance(begin, Begin)
    assert begin.fence == replace(fence(FenceStep.FENCING), why="it has shown no sign of life")


@pytest.mark.parametrize(
    "picture",
    [
        snapshot(node("n1"), node("n2"), node("n3", alive=None), primary=Primary("n2", 2)),
        snapshot(node("n1"), node("n2"), node("n3", alive=None), primary=None),
        snapshot(node("n1"), node("n2"), node("n3", alive=None), maintenance=True),
        snapshot(node("n1"), node("n2"), node("n3", alive=None, stopped=True)),
        snapshot(node("n1"), node("n2"), node("n3")),
    ],
    ids=["not primary", "no primary", "maintenance", "stopped in good order", "alive"],
)
def test_no_fence_begins(picture: ClusterSnapshot) -> None:
    assert decide(picture, sight("n3")) == []


def test_a_node_never_fences_itself() -> None:
    assert decide(snapshot(node("n1", alive=None)), sight("n1", dropped=frozenset())) == []


def test_the_osds_of_dead_nodes_are_given_up_once_and_before_their_saving_throw_is_over() -> None:
    picture = snapshot(node("n1"), node("n2", alive=None), node("n3", alive=None), node("n4", alive=None, stopped=True))
    assert decide(picture, sight(dropped=frozenset({"n2"}))) == [DropOsds("", frozenset({"n3"}))]
    assert decide(picture, sight(dropped=frozenset({"n2", "n3"}))) == []
    assert decide(picture, sight(dropped=frozenset()), replace(CONFIG, methods=("power",))) == []
    assert decide(replace(picture, maintenance=True), sight(dropped=frozenset())) == []
    assert decide(replace(picture, primary=Primary("n2", 2)), sight(dropped=frozenset())) == []


def test_a_node_whose_bmc_was_mute_before_is_spared_where_that_is_wanted() -> None:
    picture = snapshot(node("n1"), node("n3", alive=None))
    seen = sight("n3", mute=frozenset({"n3"}))
    assert decide(picture, seen)
    assert decide(picture, seen, replace(CONFIG, disable_on_ipmi_failure=True)) == []


@pytest.mark.parametrize("step", [FenceStep.FENCING, FenceStep.RECOVERING])
def test_one_node_is_fenced_at_a_time(step: FenceStep) -> None:
    picture = snapshot(node("n1"), node("n2", alive=None), node("n3", alive=None, fence=fence(step)))
    assert not [action for action in decide(picture, sight("n2")) if isinstance(action, Begin)]


@pytest.mark.parametrize("step", [FenceStep.FAILED, FenceStep.FENCED])
def test_a_fence_that_waits_holds_up_no_other(step: FenceStep) -> None:
    picture = snapshot(node("n1"), node("n2", alive=None), node("n3", alive=None, fence=fence(step)))
    assert [action.node for action in decide(picture, sight("n2")) if isinstance(action, Begin)] == ["n2"]


def test_two_silent_nodes_begin_one_after_the_other() -> None:
    picture = snapshot(node("n1"), node("n2", alive=None), node("n3", alive=None))
    assert [action.node for action in decide(picture, sight("n2", "n3"))] == ["n2"]


def test_a_site_that_is_lost_as_a_whole_is_fenced_at_once() -> None:
    lost = (node("n2", alive=None, site="west"), node("n3", alive=None, site="west"))
    assert [action.node for action in decide(snapshot(node("n1"), *lost), sight("n2", "n3"))] == ["n2", "n3"]
    rest = node("n4", site="west")
    assert [action.node for action in decide(snapshot(node("n1"), *lost, rest), sight("n2", "n3"))] == ["n2"]


def test_both_methods_are_tried_side_by_side_and_again_after_a_while() -> None:
    picture = fenced_n3(FenceStep.FENCING)
    tries = [action for action in decide(picture, sight()) if isinstance(action, Try)]
    assert [action.method for action in tries] == [Method.STORAGE, Method.POWER]
    just_now = {("n3", Method.STORAGE): 0.5, ("n3", Method.POWER): 1.5}
    again = decide(picture, sight(tried=just_now))
    assert [action.method for action in again if isinstance(action, Try)] == [Method.POWER]


def test_a_node_without_a_bmc_is_fenced_by_storage_alone() -> None:
    picture = snapshot(node("n1"), node("n3", alive=None, bmc=None, fence=fence(FenceStep.FENCING)))
    assert [action.method for action in decide(picture, sight()) if isinstance(action, Try)] == [Method.STORAGE]


def advanced(picture: ClusterSnapshot, seen: Sight, config: FencingConfig = CONFIG) -> Fence | None:
    found = [action.fence for action in decide(picture, seen, config) if isinstance(action, Advance)]
    return found[0] if found else None


def test_what_the_preferred_method_confirms_counts_at_once() -> None:
    after = advanced(fenced_n3(FenceStep.FENCING, storage=Attempt(confirmed=True)), sight())
    assert after is not None
    assert (after.step, after.confirmed_by) == (FenceStep.RECOVERING, Method.STORAGE)


def test_the_other_method_counts_after_the_preferred_one_has_had_its_time() -> None:
    picture = fenced_n3(FenceStep.FENCING, power=Attempt(confirmed=True))
    assert advanced(picture, sight(age=CONFIG.patience - 0.1)) is None
    after = advanced(picture, sight(age=CONFIG.patience))
    assert after is not None
    assert after.confirmed_by is Method.POWER
    at_once = advanced(picture, sight(), replace(CONFIG, methods=("power", "storage")))
    assert at_once is not None


def test_nothing_is_confirmed_by_tries_alone() -> None:
    tried = Attempt(acted=True, message="it took the command")
    for age in (0.0, 10.0, 1000.0):
        for step in (FenceStep.FENCING, FenceStep.FAILED):
            after = advanced(fenced_n3(step, power=tried, storage=tried), sight(age=age))
            assert after is None or after.step is FenceStep.FAILED


def test_a_fence_that_no_method_confirms_fails_and_is_tried_again_more_slowly() -> None:
    after = advanced(fenced_n3(FenceStep.FENCING), sight(age=CONFIG.attempt_timeout))
    assert after is not None
    assert after.step is FenceStep.FAILED
    just_now = {("n3", method): CONFIG.retry_interval - 1 for method in Method}
    assert decide(fenced_n3(FenceStep.FAILED), sight(tried=just_now)) == []
    long_ago = {("n3", method): CONFIG.retry_interval for method in Method}
    assert len(decide(fenced_n3(FenceStep.FAILED), sight(tried=long_ago))) == 2
    assert decide(fenced_n3(FenceStep.FAILED), sight(tried=long_ago), replace(CONFIG, failed_fence="none")) == []


def test_a_failed_fence_that_is_confirmed_late_goes_on() -> None:
    after = advanced(fenced_n3(FenceStep.FAILED, storage=Attempt(confirmed=True)), sight())
    assert after is not None
    assert after.step is FenceStep.RECOVERING


def test_in_maintenance_nothing_is_tried() -> None:
    picture = replace(fenced_n3(FenceStep.FENCING), maintenance=True)
    assert decide(picture, sight(age=1000.0)) == []


@pytest.mark.parametrize("boot", ["boot", "another boot"])
def test_a_node_that_is_back_in_time_is_not_fenced(boot: str) -> None:
    picture = snapshot(node("n1"), node("n3", alive=boot, fence=fence(FenceStep.FENCING)))
    assert [type(action) for action in decide(picture, sight())] == [CallOff]


def test_a_node_that_is_back_after_the_confirmation_is_fenced_all_the_same() -> None:
    back = fence(FenceStep.FENCING, storage=Attempt(confirmed=True))
    after = advanced(snapshot(node("n1"), node("n3", fence=back)), sight())
    assert after is not None
    assert after.step is FenceStep.RECOVERING


def test_each_later_step_has_its_action() -> None:
    assert [type(action) for action in decide(fenced_n3(FenceStep.RECOVERING), sight())] == [Recover]
    assert [type(action) for action in decide(fenced_n3(FenceStep.RETURNED), sight())] == [Close]
    assert decide(fenced_n3(FenceStep.FENCED), sight()) == []


def test_a_power_that_the_fence_took_is_given_back_once() -> None:
    taken = Attempt(confirmed=True, acted=True)
    assert [type(a) for a in decide(fenced_n3(FenceStep.FENCED, power=taken), sight())] == [PowerOn]
    assert decide(fenced_n3(FenceStep.FENCED, power=taken, power_restored=True), sight()) == []
    assert decide(fenced_n3(FenceStep.FENCED, power=Attempt(confirmed=True)), sight()) == [], "it was found off"
    assert decide(fenced_n3(FenceStep.FENCED, power=taken), sight(), replace(CONFIG, power_on=False)) == []


@pytest.mark.parametrize(
    ("found", "only_rbd", "free"),
    [
        (fence(FenceStep.FENCING, storage=Attempt(confirmed=True), power=Attempt(confirmed=True)), True, False),
        (fence(FenceStep.RECOVERING, storage=Attempt(confirmed=True)), True, True),
        (fence(FenceStep.RECOVERING, storage=Attempt(confirmed=True)), False, False),
        (fence(FenceStep.RECOVERING, power=Attempt(confirmed=True)), False, True),
        (fence(FenceStep.RECOVERING, confirmed_by=Method.HAND), False, True),
        (fence(FenceStep.FAILED), True, False),
    ],
)
def test_a_machine_is_free_when_none_of_its_disks_can_be_written(found: Fence, only_rbd: bool, free: bool) -> None:
    assert fencing.may_free(found, only_rbd=only_rbd) is free


def machine(state: VmState = VmState.START, run: RunState | None = RunState.RUNNING, **fields: Any) -> VmEntry:
    on = fields.pop("holder", "n3")
    vm = Vm("u", "web", state, fields.pop("node", "n3"), generation=4, **fields)
    return vm_entry(vm, run, on, generation=4)


@pytest.mark.parametrize(
    ("entry", "is_affected"),
    [
        (machine(), True),
        (machine(run=RunState.STARTING), True),
        (machine(run=RunState.STOPPED), True),
        (machine(run=None), True),
        (machine(run=RunState.FAILED), False),
        (machine(run=RunState.WAITING), False),
        (machine(VmState.STOP), True),
        (machine(VmState.STOP, RunState.STOPPED), False),
        (machine(node="n2", holder="n3"), True),
        (machine(node="n2", holder="n2"), False),
        (machine(node="n2", holder="n2", migration=Migration("n3", "t")), True),
        (machine(node="n2", holder="n2", migration=Migration("n3", "t", live=False)), False),
    ],
)
def test_which_machines_a_fence_is_about(entry: VmEntry, is_affected: bool) -> None:
    picture = ClusterSnapshot(vms={"u": entry})
    assert bool(fencing.affected(picture, "n3")) is is_affected


def test_a_freed_machine_has_stopped_and_its_disks_are_to_be_unlocked() -> None:
    vm, status = fencing.freed(machine(), "n3", NOW)
    assert vm.state is VmState.START
    assert status == VmStatus(RunState.STOPPED, "n3", 1, 4, since=NOW, former=("n3",))
    assert fencing.placed(vm, "n2") == replace(vm, node="n2", last_node="n3")
    assert fencing.placed(replace(vm, last_node="n2"), "n2").last_node == ""


def test_a_machine_that_its_second_node_never_started_keeps_the_locks_of_the_first_in_mind() -> None:
    given = machine(run=RunState.STOPPED, holder="n2")
    given = replace(given, status=replace(given.status, former=("n2",)))
    assert fencing.freed(given, "n3", NOW)[1] == given.status
    started = replace(given, status=replace(given.status, run=RunState.STARTING, node="n3"))
    assert fencing.freed(started, "n3", NOW)[1].former == ("n2", "n3")


def test_a_node_that_is_shut_out_without_a_fence_is_fenced_though_it_is_alive() -> None:
    [begin] = decide(snapshot(node("n1"), node("n3")), sight(stray=frozenset({"n3"})))
    assert isinstance(begin, Begin)
    assert "shut out" in begin.fence.why


def test_a_machine_that_was_powering_off_is_off() -> None:
    vm, _ = fencing.freed(machine(VmState.SHUTDOWN, shutdown_deadline=NOW), "n3", NOW)
    assert (vm.state, vm.shutdown_deadline) == (VmState.STOP, 0.0)


def test_a_machine_that_was_shut_down_to_move_starts() -> None:
    vm, _ = fencing.freed(machine(VmState.SHUTDOWN, migration=Migration("n2", "t", live=False)), "n3", NOW)
    assert (vm.state, vm.migration) == (VmState.START, None)


def test_a_machine_on_its_way_to_the_dead_node_stays_where_it_was() -> None:
    entry = machine(node="n2", holder="n2", migration=Migration("n3", "t"))
    vm, status = fencing.freed(entry, "n3", NOW)
    assert (vm.node, vm.migration) == ("n2", None)
    assert status == replace(entry.status, former=("n3",)), "a copy there may have locked its disks"


@pytest.mark.parametrize(
    ("target", "doubt"),
    [
        (node("n2"), False),
        (node("n2", alive=None), True),
        (node("n2", alive=None, fence=fence(FenceStep.FENCING, "n2")), True),
        (node("n2", alive=None, fence=fence(FenceStep.RECOVERING, "n2")), False),
    ],
    ids=["lives and can tell", "silent", "being fenced", "fenced"],
)
def test_a_machine_is_left_alone_while_it_may_run_where_it_was_going(target: NodeEntry, doubt: bool) -> None:
    picture = snapshot(node("n1"), target, node("n3", alive=None, fence=fence(FenceStep.RECOVERING)))
    assert fencing.in_doubt(machine(migration=Migration("n2", "t")), "n3", picture) is doubt
    assert not fencing.in_doubt(machine(), "n3", picture)


def test_the_locks_of_both_ends_of_a_migration_may_be_left() -> None:
    _, status = fencing.freed(machine(migration=Migration("n2", "t")), "n3", NOW)
    assert status is not None
    assert status.former == ("n3", "n2")


def test_a_machine_that_was_leaving_the_dead_node_goes_where_it_may_run_already() -> None:
    entry = machine(migration=Migration("n2", "t"))
    assert fencing.receiver(entry, snapshot(node("n1"), node("n2"), node("n3", alive=None))) == "n2"
    assert fencing.receiver(entry, snapshot(node("n1"), node("n2", alive=None), node("n3", alive=None))) == ""
    assert fencing.receiver(machine(), snapshot(node("n2"))) == ""
