"""What every operation has in common: locks, claims, cancelling, undoing, and a store that is away for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest

from pvc_core.errors import BadRequest, Busy, Cancelled, ClaimLost, Conflict, Failed, Unavailable
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Operation, Run, build
from pvc_core.ops.steps import commit
from pvc_core.ops.vm_define import VmDefine
from pvc_core.ops.vm_meta import VmTag
from pvc_core.ops.vm_power import VmStart, VmStop
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.records import Lock, Maintenance
from tests.unit.ops.house import TASK, House, Watcher, xml


@dataclass(frozen=True)
class Anything(Operation):
    """Locks ``maintenance``, and does what ``work`` says."""

    work: ClassVar[Callable[[Run], Any]]

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return ("maintenance",)

    def execute(self, run: Run) -> Mapping[str, Any]:
        return type(self).work(run) or {}


def do(house: House, work: Callable[[Run], Any], watcher: Watcher | None = None) -> Mapping[str, Any]:
    """Perform an operation that does ``work``."""
    Anything.task_name = "test.anything"
    Anything.work = work  # type: ignore[method-assign]
    Operation.registry["test.anything"] = Anything
    try:
        return house.run(Anything(), watcher=watcher)
    finally:
        del Operation.registry["test.anything"]


def write(run: Run, enabled: bool = True) -> None:
    def prepare(transaction: Any) -> None:
        entry = run.tools.state.find(records.MAINTENANCE)
        if entry is None:
            transaction.create(records.MAINTENANCE, Maintenance(enabled))
        else:
            transaction.update(entry, Maintenance(enabled))

    commit(run, prepare)


def test_arguments_survive_the_way_through_a_record() -> None:
    operation = VmDefine(xml(), node_limit=("n1", "n2"), user_tags=("a",))
    assert build("vm.define", operation.arguments()) == operation


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("vm.fly", {}, "there is no operation 'vm.fly'"),
        ("vm.start", {}, "vm.start: .*missing required field `vm`"),
        ("vm.start", {"vm": 5}, "vm.start: Expected `str`, got `int`"),
        ("vm.tag", {"vm": "a", "action": "paint", "tag": "b"}, "vm.tag: Invalid enum value 'paint'"),
    ],
)
def test_arguments_that_do_not_fit(name: str, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        build(name, arguments)


def test_every_operation_says_what_it_is() -> None:
    for name, kind in Operation.registry.items():
        assert kind.task_name == name
        assert kind.summary
        assert not {"role", "lane", "summary", "resumable", "task_name"} & {field.name for field in fields(kind)}


def test_what_another_task_holds_is_refused_by_name(house: House) -> None:
    uuid = house.define(1)
    house.state.transaction().create(records.lock(f"vm:{uuid}"), Lock("another"), ephemeral=True).commit()
    before = house.picture()
    with pytest.raises(Busy, match=f"vm:{uuid} is in use by task another"):
        house.run(VmStart(uuid))
    assert house.picture() == before


def test_the_locks_of_a_dead_attempt_are_waited_for(house: House) -> None:
    uuid = house.define(1)
    dead = house.lab.servers.connect()
    ClusterState(dead).transaction().create(records.lock(f"vm:{uuid}"), Lock(TASK), ephemeral=True).commit()
    ends = house.lab.clock.now() + 6
    cycle = house.lab.cycle

    def expire(times: int = 4) -> None:
        if house.lab.clock.now() >= ends:
            dead.close()
        cycle(times)

    house.lab.cycle = expire  # type: ignore[method-assign]
    house.run(VmStart(uuid), attempt=2)
    assert house.runs_on(uuid) == ["n1"]


def test_locks_are_given_back_whatever_the_end(house: House) -> None:
    def break_off(run: Run) -> None:
        assert run.snapshot.locks == {"maintenance": TASK}
        raise ZeroDivisionError("a defect")

    with pytest.raises(Failed, match="internal error: ZeroDivisionError: a defect"):
        do(house, break_off)
    assert house.view.snapshot().locks == {}


def test_who_lost_its_session_writes_no_more(house: House) -> None:
    def expire(run: Run) -> None:
        run.tools.state.store.expire()  # type: ignore[attr-defined]
        write(run)

    with pytest.raises(Unavailable, match="the locks were lost"):
        do(house, expire)
    assert house.state.find(records.MAINTENANCE) is None


def test_undo_works_without_the_locks(house: House) -> None:
    def expire(run: Run) -> None:
        write(run, True)
        run.undo("maintenance is on", lambda: write(run, False))
        run.tools.state.store.expire()  # type: ignore[attr-defined]
        write(run)

    with pytest.raises(Failed) as caught:
        do(house, expire)
    assert caught.value.left == ()
    assert not house.state.get(records.MAINTENANCE).value.enabled


def test_a_store_that_is_away_for_a_while_is_waited_for(house: House) -> None:
    def go_away(run: Run) -> None:
        store: Any = run.tools.state.store
        ends = house.lab.clock.now() + 4
        cycle = house.lab.cycle

        def come_back(times: int = 4) -> None:
            if house.lab.clock.now() >= ends:
                store.resume()
            cycle(times)

        house.lab.cycle = come_back  # type: ignore[method-assign]

        def prepare(transaction: Any) -> None:
            transaction.create(records.MAINTENANCE, Maintenance(True))
            if house.lab.clock.now() < ends:
                store.suspend()

        commit(run, prepare)

    do(house, go_away)
    assert house.state.get(records.MAINTENANCE).value.enabled


def test_an_answer_that_was_lost_is_found_out(house: House) -> None:
    def lose(run: Run) -> None:
        run.tools.state.store.lose_answer()  # type: ignore[attr-defined]
        write(run)

    do(house, lose)
    entry = house.state.get(records.MAINTENANCE)
    assert (entry.value.enabled, entry.version) == (True, 0)


def test_who_lost_its_claim_undoes_nothing(house: House) -> None:
    undone: list[str] = []

    def work(run: Run) -> None:
        run.undo("something", lambda: undone.append("something"))
        run.step("one")
        run.step("two")

    with pytest.raises(ClaimLost):
        do(house, work, Watcher(house, lose_at="one"))
    assert undone == []


def test_a_cancelled_one_stops_at_its_next_step_and_undoes_in_reverse(house: House) -> None:
    undone: list[str] = []

    def work(run: Run) -> None:
        run.undo("first", lambda: undone.append("first"))
        run.undo("second", lambda: undone.append("second"))
        run.step("one")
        run.step("two")
        raise AssertionError("never reached")

    with pytest.raises(Cancelled):
        do(house, work, Watcher(house, cancel_at="one"))
    assert undone == ["second", "first"]


def test_after_the_commit_point_it_goes_on_to_its_end(house: House) -> None:
    def work(run: Run) -> dict[str, str]:
        run.plan(2)
        run.step("one")
        run.commit_point()
        run.step("two")
        assert not run.cancelled()
        return {"message": "done"}

    assert do(house, work, Watcher(house, cancel_at="one")) == {"message": "done"}


def test_what_could_not_be_undone_is_listed(house: House) -> None:
    def fail() -> None:
        raise Conflict("it is in use")

    def work(run: Run) -> None:
        run.undo("the volume is there", fail)
        run.undo("the record is there", lambda: 1 / 0)
        raise Conflict("no more")

    with pytest.raises(Failed, match="no more") as caught:
        do(house, work)
    assert caught.value.left == (
        "the record is there (ZeroDivisionError: division by zero)",
        "the volume is there (it is in use)",
    )


def test_a_failure_after_the_commit_point_says_that_the_work_stands(house: House) -> None:
    def work(run: Run) -> None:
        run.commit_point()
        raise Conflict("too late")

    with pytest.raises(Failed, match="too late") as caught:
        do(house, work)
    assert caught.value.left == ("what it had done by then stands",)


def test_two_at_once_write_one_after_the_other(house: House) -> None:
    uuid = house.define(1, VmState.START)

    class Meanwhile(Watcher):
        def report(self, current: int, total: int, message: str) -> None:
            with pytest.raises(Busy):
                house.run(VmStop(uuid), task="22222222-0000-0000-0000-000000000000")
            super().report(current, total, message)

    house.run(VmTag(uuid, "add", "web"), watcher=Meanwhile(house))
    assert house.runs_on(uuid) == ["n1"]
