"""The ways in which a machine gets from one node to another.

A machine is given to another node only in a transaction that also proves that it runs nowhere; a running one is handed
over by its hypervisor, and the node that received it writes so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from pvc_core.errors import Conflict, DriverUnavailable, Failed
from pvc_core.model.node import Addresses
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import Domain, Migration, Vm, VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_node
from pvc_core.ops.steps import (
    SHUTDOWN_MARGIN,
    STOP_TIMEOUT,
    change,
    commit,
    gave_up,
    read_vm,
    update_vm,
    wait_running,
    wait_stopped,
)
from pvc_core.state import records
from pvc_core.state.cluster import Entry, Transaction

HANDOVER_TIMEOUT = 30.0  # seconds in which the receiving node must have seen a machine that runs there
LIBVIRT_PLUGIN = "libvirt"  # by whose health a node says whether its libvirt answers
RESOLVE_TIMEOUT = 90.0  # seconds to find out how a migration ended while libvirt or the other node do not answer
RESOLVE_INTERVAL = 1.0  # seconds between two questions to libvirt, which tells nobody when it is back


@dataclass(frozen=True, slots=True)
class Move:
    """A machine, as it is before, on its way to another node; ``last_node`` is what it remembers there."""

    vm: Vm
    target: str
    last_node: str

    def arrived(self, vm: Vm) -> Vm:
        return replace(vm, node=self.target, last_node=self.last_node, migration=None)

    def returned(self, vm: Vm) -> Vm:
        return replace(vm, node=self.vm.node, last_node=self.vm.last_node, migration=None)


def move_live(run: Run, move: Move) -> None:
    """Hand a running machine over while it runs. Raises DriverError when that was not possible."""
    vm, target = move.vm, find_node(run.snapshot, move.target).node
    marker = Migration(move.target, run.task_id, move.last_node)
    run.plan(3)
    run.step(f"Preparing to move VM {vm.name} to node {move.target}")
    change(
        run,
        lambda: update_vm(run, vm.uuid, lambda vm: replace(vm, migration=marker)),
        f"VM {vm.name} is marked as moving to node {move.target}",
        lambda: _call_off(run, move),
    )
    run.step(f"Copying the memory of VM {vm.name} to node {move.target}")
    run.tools.hypervisor.migrate(
        vm.uuid,
        Addresses.host(target.addresses.cluster),
        vm.meta.migration_max_downtime,
        lambda progress: run.part(progress.done, progress.total),
        run.cancelled,
    )
    run.commit_point()
    run.step(f"Waiting for node {move.target} to take over")
    if not run.wait("the handover", lambda now: _handed_over(now, vm.uuid), HANDOVER_TIMEOUT):
        resolve(run, vm.uuid)
    if read_vm(run, vm.uuid).vm.node != move.target:
        raise Failed(f"VM {vm.name} was sent to node {move.target} and does not run there; node {vm.node} keeps it")


def _call_off(run: Run, move: Move) -> None:
    if resolve(run, move.vm.uuid).vm.node == move.target:
        raise Failed("it runs there by now")


def resolve(run: Run, uuid: str) -> VmEntry:
    """Find out how a live migration from this node ended, and take its marker off the record unless the receiving node
    did. Only once the machine is seen here, or is certainly not there, its own node may act on it again.

    Raises Failed when that cannot be found out; the receiving node still completes the record when it is back.
    """
    clock = run.tools.clock
    began = clock.monotonic()
    since = None
    while True:
        entry = read_vm(run, uuid)
        marker = entry.vm.migration
        if marker is None or not marker.live:
            return entry
        since = _reported(run, marker.target) if since is None else since
        if not entry.holder or is_here(run, uuid, unless_gone=_denied(run, uuid, marker.target, since)):
            update_vm(run, uuid, partial(_unmarked, marker))
        elif clock.monotonic() - began >= RESOLVE_TIMEOUT:
            raise Failed(f"it is not known yet whether VM {entry.vm.name} runs on node {marker.target}")
        else:  # not ``run.wait``, since this also takes back what was cancelled
            run.tools.view.wait(lambda now: _handed_over(now, uuid), RESOLVE_INTERVAL)


def move_by_shutdown(run: Run, move: Move) -> None:
    """Shut a machine down here and start it there."""
    vm = move.vm
    marker = Migration(move.target, run.task_id, move.last_node, live=False)
    timeout = run.tools.config.timing.vm_shutdown_timeout
    deadline = run.tools.clock.now() + timeout
    run.plan(3)
    run.step(f"Shutting VM {vm.name} down on node {vm.node}")
    change(
        run,
        lambda: update_vm(run, vm.uuid, lambda vm: _shut_down(vm, marker, deadline)),
        f"VM {vm.name} is shut down",
        lambda: update_vm(run, vm.uuid, lambda vm: _keep(vm, marker)),
    )
    wait_stopped(run, vm, timeout + SHUTDOWN_MARGIN)
    run.step(f"Starting VM {vm.name} on node {move.target}")
    started = change(
        run,
        lambda: reassign(run, vm.uuid, lambda vm: replace(move.arrived(vm), state=VmState.START)),
        f"VM {vm.name} is on node {move.target} and does not run",
        lambda: _take_back(run, move, VmState.START),
    )
    wait_running(run, started)


def reassign_stopped(run: Run, move: Move) -> None:
    """Give a machine that does not run to another node, which starts it if it is wanted started."""
    vm = move.vm
    anew = gave_up(read_vm(run, vm.uuid)) and vm.state is VmState.START
    run.plan(1)
    run.step(f"Giving VM {vm.name} to node {move.target}")
    given = change(
        run,
        lambda: reassign(run, vm.uuid, lambda vm: replace(move.arrived(vm), generation=vm.generation + anew)),
        f"VM {vm.name} is on node {move.target}",
        lambda: _take_back(run, move, vm.state),
    )
    if given.state is VmState.START:
        wait_running(run, given)


def reassign(run: Run, uuid: str, change: Callable[[Vm], Vm]) -> Vm:
    """Change a machine's node, provided that it runs nowhere. Raises Conflict when it does."""

    def prepare(transaction: Transaction) -> Vm:
        entry = read_vm(run, uuid)
        if entry.holder:
            raise Conflict(f"VM {entry.vm.name} runs on node {entry.holder}")
        vm = change(entry.vm)
        transaction.update(Entry(records.vm(uuid), entry.vm, entry.version), vm)
        if entry.status is not None:
            transaction.check(Entry(records.vm_status(uuid), entry.status, entry.status_version))
        return vm

    return commit(run, prepare)


def _take_back(run: Run, move: Move, state: VmState) -> None:
    """Give a machine back to its node, in ``state``, after the other one has certainly stopped it."""
    uuid = move.vm.uuid
    if read_vm(run, uuid).vm.node != move.target:
        return
    update_vm(run, uuid, lambda vm: replace(vm, state=VmState.STOP) if vm.state is VmState.START else vm)
    run.tools.view.settle()
    if not run.tools.view.wait(lambda now: uuid not in now.vms or not now.vms[uuid].holder, STOP_TIMEOUT):
        raise Failed(f"node {move.target} did not stop it within {STOP_TIMEOUT:.0f} s")
    reassign(run, uuid, lambda vm: replace(move.returned(vm), state=state, generation=vm.generation + 1))


def _reported(run: Run, node: str) -> float:
    """When a node last reported what runs on it, by its own clock."""
    stats = run.snapshot.nodes[node].stats if node in run.snapshot.nodes else None
    return stats.time if stats is not None else 0.0


def _denied(run: Run, uuid: str, node: str, since: float) -> bool:
    """Whether a node has gone on reporting, for long enough after its report of ``since``, without the machine.

    It completes the record at once when the machine runs there, and its reports show a machine that does not run yet,
    too. They may repeat what libvirt said some intervals ago, and say so when libvirt has stopped answering.
    """
    entry = run.snapshot.nodes.get(node)
    if entry is None or not entry.runs or entry.stats is None or uuid in entry.stats.domains:
        return False
    libvirt = [plugin for plugin in entry.stats.plugins if plugin.name == LIBVIRT_PLUGIN]
    sound = bool(libvirt) and all(plugin.health_delta == 0 for plugin in libvirt)
    return sound and entry.stats.time - since >= HANDOVER_TIMEOUT


def _unmarked(marker: Migration, vm: Vm) -> Vm:
    return replace(vm, migration=None) if vm.migration == marker else vm


def _handed_over(snapshot: ClusterSnapshot, uuid: str) -> bool:
    entry = snapshot.vms.get(uuid)
    return entry is None or entry.vm.migration is None


def is_here(run: Run, uuid: str, *, unless_gone: bool = False) -> bool:
    """Whether this node may act on the machine again: it runs here, or is gone from here and refused there."""
    try:
        domain: Domain | None = run.tools.hypervisor.domains().get(uuid)
    except DriverUnavailable:
        return False
    if domain is None or not domain.alive:
        return unless_gone
    return not domain.handed_over


def _shut_down(vm: Vm, marker: Migration, deadline: float) -> Vm:
    if vm.migration == marker:  # an earlier attempt asked; its deadline stands
        return vm
    return replace(vm, state=VmState.SHUTDOWN, shutdown_deadline=deadline, migration=marker)


def _keep(vm: Vm, marker: Migration) -> Vm:
    if vm.migration != marker:
        return vm
    return replace(vm, state=VmState.START, shutdown_deadline=0.0, migration=None)
