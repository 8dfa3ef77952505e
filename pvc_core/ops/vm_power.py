"""Start, stop, shutdown, restart, disable: each writes what is wanted, and waits until the machine's node shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvc_core.errors import Conflict
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import Vm, VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    VmOperation,
    check_devices,
    find_led_vm,
    find_node,
    require_holder_answers,
    spec_of,
)
from pvc_core.ops.steps import (
    SHUTDOWN_MARGIN,
    STOP_TIMEOUT,
    NotStarted,
    change,
    gave_up,
    raise_generation,
    read_vm,
    update_vm,
    wait_running,
    wait_stopped,
)
from pvc_core.rules.lineage import hindrance


@dataclass(frozen=True)
class VmStart(VmOperation):
    task_name = "vm.start"
    summary = "Start a VM"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_led_vm(snapshot, self.vm)
        if entry.holder:
            return
        node = find_node(snapshot, entry.vm.node)
        if not node.runs:
            raise Conflict(f"node {entry.vm.node} is not running ({node.daemon_state}): move VM {entry.vm.name} first")
        if node.node.domain_state in (DomainState.FLUSH, DomainState.FLUSHED):
            raise Conflict(f"node {entry.vm.node} is flushed: make it ready, or move VM {entry.vm.name} first")
        check_devices(snapshot, spec_of(snapshot, self.vm), self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.plan(1)
        before = read_vm(run, self.vm)
        _require_unhindered(run, before.vm)
        run.step(f"Starting VM {before.vm.name} on node {before.vm.node}")
        vm = change(
            run,
            lambda: update_vm(run, self.vm, lambda vm: _started(vm, anew=gave_up(before))),
            f"VM {before.vm.name} is wanted started",
            lambda: update_vm(run, self.vm, lambda vm: _put_back(vm, VmState.START, before.vm)),
        )
        try:
            wait_running(run, vm)
        except NotStarted:
            if gave_up(read_vm(run, self.vm)):
                run.commit_point()  # it stays wanted, and is shown as failed with its reason
            raise
        return {"message": f"VM {vm.name} runs on node {vm.node}"}


@dataclass(frozen=True)
class VmStop(VmOperation):
    task_name = "vm.stop"
    summary = "Cut the power of a VM"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_holder_answers(snapshot, find_led_vm(snapshot, self.vm))

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Stopping the VM")
        vm = stop(run, self.vm, VmState.STOP)
        return {"message": f"VM {vm.name} is stopped"}


@dataclass(frozen=True)
class VmShutdown(VmOperation):
    """Ask the guest to power off; its power is cut when it has not by the configured time."""

    task_name = "vm.shutdown"
    summary = "Shut a VM down"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_holder_answers(snapshot, find_led_vm(snapshot, self.vm))

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Waiting for the guest to power off")
        vm = power_off(run, self.vm)
        return {"message": f"VM {vm.name} is shut down"}


@dataclass(frozen=True)
class VmRestart(VmOperation):
    """Shut the guest down, as ``vm.shutdown`` does, and start it again with its present XML."""

    task_name = "vm.restart"
    summary = "Restart a VM"

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_led_vm(snapshot, self.vm)
        if entry.vm.state is not VmState.START:
            raise Conflict(f"VM {entry.vm.name} is not started (its state is {entry.vm.state})")
        require_holder_answers(snapshot, entry)
        check_devices(snapshot, spec_of(snapshot, self.vm), self.vm)

    def execute(self, run: Run) -> Mapping[str, Any]:
        _require_unhindered(run, read_vm(run, self.vm).vm)
        run.step("Restarting the VM")
        vm = change(
            run,
            lambda: raise_generation(run, self.vm),
            "the restart goes on",
            lambda: _withdraw_restart(run, self.vm),
        )
        try:
            wait_running(run, vm)
        except NotStarted:
            run.commit_point()  # it stays wanted: its node goes on, or shows it as failed with its reason
            raise
        return {"message": f"VM {vm.name} is restarted"}


@dataclass(frozen=True)
class VmDisable(VmOperation):
    """Stop a machine for good: nothing but a start by a person runs it again. ``force`` cuts its power at once."""

    force: bool = False

    task_name = "vm.disable"
    summary = "Disable a VM"
    resumable = True

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_holder_answers(snapshot, find_led_vm(snapshot, self.vm))

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Stopping the VM")
        if not self.force:
            power_off(run, self.vm)
        vm = stop(run, self.vm, VmState.DISABLE)
        return {"message": f"VM {vm.name} is disabled"}


def _require_unhindered(run: Run, vm: Vm) -> None:
    """Raise Conflict when another cluster may run the machine, so that its node would not start it."""
    why = hindrance(run.snapshot, vm.uuid, run.tools.clock.now(), run.tools.config.timing)
    if why:
        raise Conflict(f"VM {vm.name} is not started: {why}; started by force, it leads from here on")


def stop(run: Run, uuid: str, state: VmState) -> Vm:
    """Cut a machine's power; it ends in ``state``. What is wanted stands as soon as it is written."""
    vm = update_vm(run, uuid, lambda vm: replace(vm, state=state, shutdown_deadline=0.0))
    run.commit_point()
    left = f"VM {vm.name} is still wanted stopped, and node {vm.node} has not done so"
    wait_stopped(run, vm, STOP_TIMEOUT, left=(left,))
    return vm


def power_off(run: Run, uuid: str) -> Vm:
    """Ask the guest to power off and wait until it has, or its node cut its power. Cancelling keeps it started."""
    before = read_vm(run, uuid)
    if not before.holder or before.vm.state in (VmState.STOP, VmState.DISABLE):
        return stop(run, uuid, VmState.DISABLE if before.vm.state is VmState.DISABLE else VmState.STOP)
    timeout = run.tools.config.timing.vm_shutdown_timeout
    deadline = run.tools.clock.now() + timeout
    vm = change(
        run,
        lambda: update_vm(run, uuid, lambda vm: _shut_down(vm, deadline)),
        f"VM {before.vm.name} is still asked to power off",
        lambda: update_vm(run, uuid, lambda vm: _put_back(vm, VmState.SHUTDOWN, before.vm)),
    )
    wait_stopped(run, vm, timeout + SHUTDOWN_MARGIN)
    run.commit_point()
    return vm


def _withdraw_restart(run: Run, uuid: str) -> None:
    entry = read_vm(run, uuid)
    if entry.status is not None and entry.status.generation >= entry.vm.generation:
        raise Conflict("the VM was started anew already")
    update_vm(run, uuid, lambda vm: replace(vm, generation=vm.generation - 1))


def _started(vm: Vm, *, anew: bool) -> Vm:
    """``anew``: the node gave this generation up, so that only another one is tried."""
    return replace(vm, state=VmState.START, shutdown_deadline=0.0, generation=vm.generation + anew)


def _shut_down(vm: Vm, deadline: float) -> Vm:
    if vm.state is VmState.SHUTDOWN:  # an earlier attempt asked; its deadline stands
        return vm
    return replace(vm, state=VmState.SHUTDOWN, shutdown_deadline=deadline)


def _put_back(vm: Vm, written: VmState, before: Vm) -> Vm:
    """Take the state back to the one before, if it is still the one that was written."""
    if vm.state is not written:
        return vm
    return replace(vm, state=before.state, shutdown_deadline=before.shutdown_deadline)
