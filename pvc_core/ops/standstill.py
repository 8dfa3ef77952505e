"""Bring a running machine to rest for the moment that snapshots of its disks take.

Its record says meanwhile which task holds it. When that task is gone its node lets the machine go on; see
``rules.lifecycle.Release``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from pvc_core.errors import Conflict, DriverError, Failed
from pvc_core.model.snapshot import VmEntry
from pvc_core.model.vm import DomainRun
from pvc_core.model.vm_snapshot import Quiesced
from pvc_core.ops.base import Run
from pvc_core.ops.steps import change, read_vm, update_vm

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """How a machine was at rest."""

    quiesced: Quiesced
    time: float  # seconds since the epoch
    stood_still: float = 0.0  # seconds, at most: from before it was paused until it was let go on
    released: bool = True  # False: it did not answer when it was let go on, and is held until its node has done so


def at_rest(run: Run, entry: VmEntry, action: Callable[[], object]) -> Moment:
    """Do ``action`` while the machine stands still, and let it go on whatever comes of that. Raises Conflict when it
    does not run on this node, and Failed when it did not stand still throughout."""
    vm, hypervisor, clock = entry.vm, run.tools.hypervisor, run.tools.clock
    if entry.holder != run.tools.config.node.name:
        raise Conflict(f"VM {vm.name} runs on node {entry.holder} by now: try again")
    domain = hypervisor.domains().get(vm.uuid)
    if domain is None or not domain.alive or domain.handed_over:
        raise Conflict(f"VM {vm.name} does not run on node {entry.holder} any more: try again")
    if domain.run is DomainRun.PAUSED:  # by an error or a person, who will let it go on
        moment = Moment(Quiesced.PAUSED, clock.now())
        action()
        _require_still(run, entry)
        return moment
    _hold(run, entry)
    begun = stopped = clock.monotonic()
    try:
        frozen = hypervisor.freeze(vm.uuid)
        stopped = clock.monotonic()
        hypervisor.pause(vm.uuid)
        time = clock.now()
        action()
        _require_still(run, entry)
    finally:
        released = _try_release(run, entry)
        ended = clock.monotonic()
        log.info(
            "VM %s (%s) stood still for %.0f ms, after %.0f ms in which its agent was asked to freeze it",
            vm.name,
            vm.uuid,
            1000 * (ended - stopped),
            1000 * (stopped - begun),
        )
    return Moment(Quiesced.GUEST if frozen else Quiesced.PAUSED, time, ended - stopped, released)


def _hold(run: Run, entry: VmEntry) -> None:
    """Say that this task may stop the machine for a moment."""
    change(
        run,
        lambda: update_vm(run, entry.vm.uuid, lambda vm: replace(vm, held=run.task_id)),
        f"VM {entry.vm.name} may stand still until its node lets it go on",
        lambda: let_go(run, entry.vm.uuid),
    )


def let_go(run: Run, uuid: str) -> None:
    """Let a machine go on that this task held, here or in an earlier attempt; nothing when it does not."""
    if read_vm(run, uuid).vm.held == run.task_id:
        run.tools.hypervisor.release(uuid)
        update_vm(run, uuid, lambda vm: replace(vm, held=""))


def _require_still(run: Run, entry: VmEntry) -> None:
    domain = run.tools.hypervisor.domains().get(entry.vm.uuid)
    if domain is None or domain.run is not DomainRun.PAUSED:
        raise Failed(f"VM {entry.vm.name} ended or went on while it was to stand still: try again")


def _try_release(run: Run, entry: VmEntry) -> bool:
    try:
        run.tools.hypervisor.release(entry.vm.uuid)
    except DriverError as error:
        log.warning("VM %s (%s) is not let go on yet: %s", entry.vm.name, entry.vm.uuid, error)
        return False
    return True
