"""Give a machine to another node: for a while (migrate), back (unmigrate), for good (move)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvc_core.errors import Conflict, DriverError
from pvc_core.model.node import DomainState
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import MigrationMethod, Vm, VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import (
    VmOperation,
    find_settled_vm,
    find_vm,
    node_runs,
    require_holder_answers,
    vm_lock,
)
from pvc_core.ops.moving import Move, is_here, move_by_shutdown, move_live, reassign_stopped, resolve
from pvc_core.ops.steps import read_vm
from pvc_core.rules.placement import check_node, choose_node, needed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _MoveOperation(VmOperation):
    """On the node where the machine runs, whose hypervisor sends it away. A machine that does not run is only given to
    the other node. Subclasses say where it goes, and what it remembers."""

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        entry = snapshot.vms.get(self.vm)
        return (entry.holder or None) if entry is not None else None

    def check(self, snapshot: ClusterSnapshot) -> None:
        entry = find_vm(snapshot, self.vm)
        migration = entry.vm.migration
        if migration is None or snapshot.locks.get(vm_lock(self.vm)) == migration.task_id:
            find_settled_vm(snapshot, self.vm)
        require_holder_answers(snapshot, entry)
        if entry.holder and entry.vm.state is not VmState.START:
            raise Conflict(f"VM {entry.vm.name} is being stopped: try again when it is")
        self._plan(snapshot, entry)

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        require_holder_answers(snapshot, find_vm(snapshot, self.vm))

    def execute(self, run: Run) -> Mapping[str, Any]:
        entry = read_vm(run, self.vm)
        marker = entry.vm.migration
        ours = marker is not None and marker.task_id == run.task_id
        if marker is not None and marker.live and not (ours and is_here(run, self.vm)):
            run.step("Finding out how an earlier migration ended")
            entry = resolve(run, self.vm)
        if marker is not None and ours and entry.vm.migration is not None:  # an earlier attempt broke off, this goes on
            move = Move(entry.vm, marker.target, marker.last_node)
        elif run.attempt > 1 and self._done(run.tools.config.node.name, entry.vm):
            return _answer(entry)
        else:
            move = self._plan(run.snapshot, entry)
        self._move(run, entry, move)
        return _answer(read_vm(run, self.vm))

    def _move(self, run: Run, entry: VmEntry, move: Move) -> None:
        if entry.holder not in ("", run.tools.config.node.name):
            raise Conflict(f"VM {entry.vm.name} runs on node {entry.holder} meanwhile: try again")
        method = MigrationMethod.LIVE if self._live_only else entry.vm.meta.migration_method
        shut_down = entry.vm.migration is not None and not entry.vm.migration.live
        if shut_down or (entry.holder and method is MigrationMethod.SHUTDOWN):
            move_by_shutdown(run, move)
        elif not entry.holder:
            reassign_stopped(run, move)
        else:
            self._try_live(run, move, or_shutdown=method is MigrationMethod.NONE)

    def _try_live(self, run: Run, move: Move, *, or_shutdown: bool) -> None:
        try:
            move_live(run, move)
        except DriverError as error:
            if resolve(run, self.vm).vm.node == move.target:
                return  # it arrived, and only the answer was lost
            if error.retryable or not or_shutdown or not node_runs(run.snapshot, move.target):
                raise
            log.info("VM %s cannot be moved live, and is shut down instead: %s", move.vm.name, error)
            move_by_shutdown(run, move)

    @property
    def _live_only(self) -> bool:
        raise NotImplementedError

    def _plan(self, snapshot: ClusterSnapshot, entry: VmEntry) -> Move:
        """Where it goes and what it remembers there. Raises Refused when it cannot go."""
        raise NotImplementedError

    def _done(self, here: str, vm: Vm) -> bool:
        """Whether an earlier attempt, sent to the node ``here``, came to its end and only did not say so."""
        raise NotImplementedError


@dataclass(frozen=True)
class VmMigrate(_MoveOperation):
    """``force`` moves on a machine that was migrated before; it still remembers where it came from first."""

    node: str = ""
    force: bool = False
    force_live: bool = False

    task_name = "vm.migrate"
    summary = "Migrate a VM to another node, from which it may return"
    resumable = True

    @property
    def _live_only(self) -> bool:
        return self.force_live

    def _plan(self, snapshot: ClusterSnapshot, entry: VmEntry) -> Move:
        vm = entry.vm
        if vm.last_node and not self.force:
            raise Conflict(f"VM {vm.name} was migrated from node {vm.last_node}: unmigrate it first, or force it")
        target = _place(snapshot, entry, self.node)
        home = vm.last_node or vm.node
        return Move(vm, target, "" if target == home else home)

    def _done(self, here: str, vm: Vm) -> bool:
        return vm.node == self.node if self.node else vm.node != here


@dataclass(frozen=True)
class VmMove(_MoveOperation):
    node: str = ""
    force_live: bool = False

    task_name = "vm.move"
    summary = "Move a VM to another node for good"
    resumable = True

    @property
    def _live_only(self) -> bool:
        return self.force_live

    def _plan(self, snapshot: ClusterSnapshot, entry: VmEntry) -> Move:
        return Move(entry.vm, _place(snapshot, entry, self.node), "")

    def _done(self, here: str, vm: Vm) -> bool:
        return vm.node == self.node if self.node else vm.node != here


@dataclass(frozen=True)
class VmUnmigrate(_MoveOperation):
    force_live: bool = False

    task_name = "vm.unmigrate"
    summary = "Bring a migrated VM back"
    resumable = True

    @property
    def _live_only(self) -> bool:
        return self.force_live

    def _plan(self, snapshot: ClusterSnapshot, entry: VmEntry) -> Move:
        home = entry.vm.last_node
        if not home:
            raise Conflict(f"VM {entry.vm.name} was not migrated")
        accepted = {DomainState.READY, DomainState.UNFLUSH}  # a node takes its own back before it is ready for others
        check_node(snapshot, home, entry.vm, needed(entry), accepted)
        return Move(entry.vm, home, "")

    def _done(self, here: str, vm: Vm) -> bool:
        return not vm.last_node


def _place(snapshot: ClusterSnapshot, entry: VmEntry, wished: str) -> str:
    """The node that was asked for, or else the best one. Raises NotFound and Conflict."""
    vm, memory = entry.vm, needed(entry)
    if not wished:
        return choose_node(snapshot, vm, memory, exclude={vm.node})
    if wished == vm.node:
        raise Conflict(f"VM {vm.name} is on node {wished} already")
    check_node(snapshot, wished, vm, memory)
    return wished


def _answer(entry: VmEntry) -> Mapping[str, Any]:
    vm = entry.vm
    back = f", and may return to node {vm.last_node}" if vm.last_node else ""
    return {"message": f"VM {vm.name} is on node {vm.node}{back}", "node": vm.node, "last_node": vm.last_node}
