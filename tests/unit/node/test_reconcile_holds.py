"""A machine that a task holds still goes on when the task is gone."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.errors import DriverUnavailable
from pvc_core.model.vm import DomainRun
from pvc_core.state import records
from pvc_core.state.records import Lock
from tests.unit.node.harness import LabCluster, LabNode

Messages = Callable[[str], list[str]]


def hold(lab: LabCluster, n1: LabNode, task: str) -> str:
    """A machine that a task, which has its lock, made stand still."""
    uuid = lab.define(1)
    lab.cycle()
    lab.state.transaction().create(records.lock(f"vm:{uuid}"), Lock(task)).commit()
    lab.change(uuid, held=task)
    n1.hypervisor.agents.add(uuid)
    n1.hypervisor.freeze(uuid)
    n1.hypervisor.pause(uuid)
    return uuid


def test_a_machine_that_a_dead_task_left_standing_goes_on(lab: LabCluster, n1: LabNode, messages: Messages) -> None:
    uuid = hold(lab, n1, "task-1")
    lab.advance(10)
    assert n1.hypervisor.domains()[uuid].run is DomainRun.PAUSED
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.cycle()
    assert n1.hypervisor.domains()[uuid].run is DomainRun.RUNNING
    assert not n1.hypervisor.frozen
    assert lab.state.get(records.vm(uuid)).value.held == ""
    assert len(messages("held => released")) == 1
    assert n1.hypervisor.started == [uuid]


def test_a_hold_that_is_seen_before_its_lock_is_left_alone(lab: LabCluster, n1: LabNode) -> None:
    uuid = hold(lab, n1, "task-1")
    n1.workers.inline = False
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.cycle()  # decides to let it go on
    lab.state.transaction().create(records.lock(f"vm:{uuid}"), Lock("task-1")).commit()
    n1.workers.run()
    assert n1.hypervisor.domains()[uuid].run is DomainRun.PAUSED
    assert lab.state.get(records.vm(uuid)).value.held == "task-1"


def test_a_machine_that_could_not_be_let_go_on_is_tried_again(lab: LabCluster, n1: LabNode) -> None:
    uuid = hold(lab, n1, "task-1")
    real = n1.hypervisor.release
    n1.hypervisor.release = refuse
    lab.state.transaction().delete(lab.state.get(records.lock(f"vm:{uuid}"))).commit()
    lab.advance(4)
    assert lab.state.get(records.vm(uuid)).value.held == "task-1"
    n1.hypervisor.release = real
    lab.advance(4)
    assert lab.state.get(records.vm(uuid)).value.held == ""
    assert n1.hypervisor.domains()[uuid].run is DomainRun.RUNNING


def refuse(uuid: str) -> None:
    raise DriverUnavailable("the agent does not answer")
