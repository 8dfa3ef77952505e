"""What all work by schedule has in common: which machines, programs before and after, the report."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pvc_core.errors import Cancelled, ClaimLost, PvcError
from pvc_core.model.backup import BackupPlan, MirrorPlan, Outcome, Report
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.common import VmOperation

log = logging.getLogger(__name__)

STOPS = (Cancelled, ClaimLost)  # what ends a whole run, and not only its work on one machine
SHORT_AT_ONCE = 4
TRIES = 3
LOCK_PATIENCE = 30.0  # seconds
COMMAND_TIMEOUT = 300.0  # seconds for one command to mount or unmount


def machines_of(snapshot: ClusterSnapshot, plan: BackupPlan | MirrorPlan) -> tuple[list[VmEntry], list[str]]:
    """The machines of a schedule by name, and a sentence for each named one that is not there. Copies of another
    cluster's machines are left to that cluster."""
    found = {uuid: entry for uuid, entry in snapshot.vms.items() if any(tag.name in plan.tags for tag in entry.vm.tags)}
    missing = []
    for name in plan.vms:
        entry = snapshot.find_vm(name)
        if entry is None:
            missing.append(f"there is no VM {name!r}")
        else:
            found[entry.vm.uuid] = entry
    ours = [entry for entry in found.values() if entry.vm.state not in (VmState.MIRROR, VmState.PROVISION)]
    return sorted(ours, key=lambda entry: entry.vm.name), missing


@contextmanager
def mounted(run: Run, plan: BackupPlan, problems: list[str]) -> Iterator[None]:
    """Run the commands of a schedule that come before, and in any case those that come after. What goes wrong with the
    latter is put into ``problems``. Raises DriverError when one of the former fails."""
    try:
        for command in plan.mount:
            run.tools.commands.run(shlex.split(command), COMMAND_TIMEOUT, run.cancelled)
        yield
    finally:
        for command in plan.unmount:
            try:
                run.tools.commands.run(shlex.split(command), COMMAND_TIMEOUT)
            except PvcError as error:
                log.warning("schedule %s: %s", plan.name, error)
                problems.append(str(error))


def send(run: Run, children: Sequence[Operation], timeout: float, at_once: int) -> list[tuple[Operation, str]]:
    """Have operations done as tasks of their own; those that failed, with the reasons. Raises Cancelled."""
    failed = run.progress.wait_children(
        list(children), timeout, at_once, lambda ended: run.part(ended, max(1, len(children)))
    )
    run.checkpoint()
    run.tools.view.settle()
    return failed


def send_patiently(run: Run, children: Sequence[Operation], timeout: float) -> list[tuple[Operation, str]]:
    """The same for short ones, which may be about the same machine. Each is sent again a few times: others hold a
    machine for a moment too, such as the schedule that mirrors it."""
    rounds = _apart(run.snapshot, children)
    return [failure for operations in rounds for failure in _send_round(run, operations, timeout)]


def _apart(snapshot: ClusterSnapshot, operations: Sequence[Operation]) -> list[list[Operation]]:
    """Operations in rounds, in each of which no two need the same lock."""
    rounds: list[tuple[set[str], list[Operation]]] = []
    for operation in operations:
        locks = set(operation.locks(snapshot))
        free = next((one for one in rounds if one[0].isdisjoint(locks)), None)
        if free is None:
            rounds.append(free := (set(), []))
        free[0].update(locks)
        free[1].append(operation)
    return [together for _, together in rounds]


def _send_round(run: Run, children: Sequence[Operation], timeout: float) -> list[tuple[Operation, str]]:
    failed = send(run, children, timeout, SHORT_AT_ONCE)
    for _ in range(TRIES - 1):
        again = [operation for operation, _ in failed]
        if not again:
            break
        run.wait("locks of machines", lambda now: not _held(now, again), LOCK_PATIENCE)  # noqa: B023 - called at once
        failed = send(run, again, timeout, SHORT_AT_ONCE)
    return failed


def _held(snapshot: ClusterSnapshot, operations: Sequence[Operation]) -> bool:
    """Whether others hold what they need, or a machine still stands where a worker that died has left it."""
    machines = (snapshot.vms.get(operation.vm) for operation in operations if isinstance(operation, VmOperation))
    return any(lock in snapshot.locks for operation in operations for lock in operation.locks(snapshot)) or any(
        entry.vm.held for entry in machines if entry is not None
    )


def tell(run: Run, plan: BackupPlan | MirrorPlan, report: Report, mail: Sequence[str], errors_only: bool) -> Report:
    """Send the report where the schedule and the caller want it. The report, with what went wrong in sending it."""
    recipients = tuple(dict.fromkeys((*plan.mail, *mail)))
    if (errors_only and report.succeeded) or not (recipients or plan.web_hook):
        return report
    try:
        run.tools.reports.send(report, recipients, plan.web_hook)
    except STOPS:
        raise
    except PvcError as error:
        log.warning("schedule %s: %s", plan.name, error)
        return replace(report, problems=(*report.problems, str(error)))
    return report


def outcomes_of(entries: Sequence[VmEntry], failed: dict[str, str], done: dict[str, str]) -> tuple[Outcome, ...]:
    """What became of each machine: why it failed, or what was done, by its uuid."""
    return tuple(
        Outcome(
            entry.vm.name, entry.vm.uuid not in failed, failed.get(entry.vm.uuid) or done.get(entry.vm.uuid, "done")
        )
        for entry in entries
    )
