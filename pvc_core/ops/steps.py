"""What several operations do alike: conditional writes that are made again, and waiting for nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pvc_core.errors import DriverUnavailable, Failed, Stale, Unavailable
from pvc_core.model.domain import parse
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import RunState, Vm, VmState
from pvc_core.ops.base import WAIT_SLICE, Run
from pvc_core.ops.common import find_vm
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

T = TypeVar("T")

COMMIT_ATTEMPTS = 10  # writers of one record are few: its node, and the operation that holds its lock
START_TIMEOUT = 120.0  # seconds until a node must have started a machine
STOP_TIMEOUT = 60.0  # seconds until a node must have destroyed a machine
SHUTDOWN_MARGIN = 30.0  # seconds after a shutdown's deadline until a node must have acted on it


class NotStarted(Failed):
    """A machine's node did not start it."""


def change(run: Run, action: Callable[[], T], left: str, undo: Callable[[], object]) -> T:
    """Do ``action`` and register its ``undo``, which must bear that there is nothing to take back: it is registered too
    when the outcome of the action is not known. ``left`` says what remains if the undo fails."""
    try:
        result = action()
    except (Unavailable, DriverUnavailable):
        run.undo(left, undo)
        raise
    run.undo(left, undo)
    return result


def commit(run: Run, prepare: Callable[[Transaction], T]) -> T:
    """Commit what ``prepare`` reads and puts into a transaction; its result. It is prepared anew, from what is there by
    then, when another writer was faster or the store was away. Raises Stale when that goes on or a lock was lost, and
    Unavailable when the store stays away."""
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        transaction = run.transaction()
        result = prepare(transaction)
        try:
            transaction.commit()
            return result
        except Stale as error:
            if attempt == COMMIT_ATTEMPTS or error.path.startswith(records.LOCKS):
                raise
        except Unavailable:
            if _was_applied(run, transaction):
                return result
            if attempt == COMMIT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _was_applied(run: Run, transaction: Transaction) -> bool:
    """Find out how a commit ended whose answer was lost, once the store answers again. Raises Unavailable when it does
    not in time; then something may have been changed."""
    deadline = run.tools.clock.monotonic() + 2 * run.tools.config.zookeeper.session_timeout
    while True:
        try:
            run.tools.view.settle()
            return transaction.applied()
        except Unavailable:
            if run.tools.clock.monotonic() >= deadline:
                run.mark_changed()
                raise
            run.tools.view.wait(lambda _: False, WAIT_SLICE)


def update_vm(run: Run, uuid: str, change: Callable[[Vm], Vm]) -> Vm:
    """Apply a pure change to a machine's record; the new record. Nothing is written when nothing changes."""

    def prepare(transaction: Transaction) -> Vm:
        entry = run.tools.state.get(records.vm(uuid))
        vm = change(entry.value)
        if vm != entry.value:
            transaction.update(entry, vm)
        return vm

    return commit(run, prepare)


def write_xml(run: Run, uuid: str, xml: str) -> None:
    """Replace the XML of a machine that still exists, and with it the size in its record."""
    size = parse(xml).size

    def prepare(transaction: Transaction) -> None:
        entry, vm = run.tools.state.get(records.vm_xml(uuid)), run.tools.state.get(records.vm(uuid))
        if entry.value != xml:
            transaction.update(entry, xml)
        if vm.value.size != size:
            transaction.update(vm, replace(vm.value, size=size))

    commit(run, prepare)


def change_xml(run: Run, uuid: str, xml: str) -> None:
    """The same, taken back by an undo."""
    old = run.tools.state.get(records.vm_xml(uuid)).value

    def put_back() -> None:
        if run.tools.state.get(records.vm_xml(uuid)).value == xml:
            write_xml(run, uuid, old)

    change(run, lambda: write_xml(run, uuid, xml), "the definition is changed", put_back)


def raise_generation(run: Run, uuid: str) -> Vm:
    """Ask for one restart of a machine that is started; its new record."""
    return update_vm(run, uuid, lambda vm: replace(vm, generation=vm.generation + 1))


def read_vm(run: Run, uuid: str) -> VmEntry:
    """The machine as it is in the store now, past the view. Raises NotFound."""
    vm = run.tools.state.get(records.vm(uuid))
    status = run.tools.state.find(records.vm_status(uuid))
    if status is None:
        return VmEntry(vm.value, vm.version)
    return VmEntry(vm.value, vm.version, status.value, status.version)


def gave_up(entry: VmEntry) -> bool:
    """Whether nobody tries to run the machine any more until it is asked for anew."""
    return entry.status is not None and entry.status.run in (RunState.FAILED, RunState.WAITING)


def wait_running(run: Run, vm: Vm) -> None:
    """Wait until a machine runs in this generation on its node. Raises NotStarted with the reason when it does not."""

    def decided(snapshot: ClusterSnapshot) -> bool:
        entry = snapshot.vms.get(vm.uuid)
        return entry is None or entry.vm.state is not VmState.START or _answered(entry, vm) is not None

    run.tools.view.settle()
    timeout = START_TIMEOUT
    if find_vm(run.snapshot, vm.uuid).holder:  # an older generation must power off first
        timeout += run.tools.config.timing.vm_shutdown_timeout
    in_time = run.wait(f"VM {vm.name} to run", decided, timeout)
    entry = find_vm(run.snapshot, vm.uuid)
    if not in_time:
        raise NotStarted(f"node {vm.node} did not start VM {vm.name} within {timeout:.0f} s")
    if _answered(entry, vm) is RunState.FAILED and entry.status is not None:
        raise NotStarted(f"node {vm.node} could not start VM {vm.name}: {entry.status.reason}")


def _answered(entry: VmEntry, vm: Vm) -> RunState | None:
    """RUNNING or FAILED once the machine's node has said so of this generation."""
    status = entry.status
    if status is None or status.node != vm.node or status.generation != vm.generation:
        return None
    return status.run if status.run in (RunState.RUNNING, RunState.FAILED) else None


def wait_stopped(run: Run, vm: Vm, timeout: float, left: tuple[str, ...] = ()) -> None:
    """Wait until a machine certainly runs nowhere. Raises Failed after ``timeout`` seconds."""

    def stopped(snapshot: ClusterSnapshot) -> bool:
        entry = snapshot.vms.get(vm.uuid)
        return entry is None or (not entry.holder and entry.vm.state is not VmState.SHUTDOWN)

    run.tools.view.settle()
    if not run.wait(f"VM {vm.name} to stop", stopped, timeout):
        raise Failed(f"VM {vm.name} did not stop within {timeout:.0f} s", left=left)
