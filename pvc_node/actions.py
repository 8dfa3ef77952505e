"""How the decisions about machines are carried out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from pvc_core.config import TimingConfig
from pvc_core.errors import Conflict, DriverUnavailable, NotFound, PvcError, Stale, Unavailable
from pvc_core.model.vm import Domain, RunState, Vm, VmStatus
from pvc_core.ports import Check, Clock, Hypervisor
from pvc_core.rules import lifecycle
from pvc_core.rules.lifecycle import Action, Destroy, PressPowerButton, Record, Release, Start, Subject
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Entry, Transaction
from pvc_node.disks import Disks

log = logging.getLogger(__name__)


class Actions:
    """Carries out one action at a time for any one machine; safe for several machines at once.

    Each action first proves, in a transaction, that its decision still fits the records; nothing was done when that
    raises Stale or Unavailable.
    """

    def __init__(
        self,
        state: ClusterState,
        hypervisor: Hypervisor,
        clock: Clock,
        timing: TimingConfig,
        disks: Disks,
        *,
        on_pressed: Callable[[str], None],
        on_started: Callable[[str], None],
    ) -> None:
        self._state = state
        self._hypervisor = hypervisor
        self._clock = clock
        self._timing = timing
        self._disks = disks
        self._on_pressed = on_pressed
        self._on_started = on_started

    def apply(self, action: Action) -> None:
        """Raises Stale, Unavailable and DriverError; each leaves the next look to decide again."""
        match action:
            case Start():
                self._start(action)
            case PressPowerButton():
                self._press(action)
            case Destroy():
                self._prove(action)
                self._hypervisor.destroy(action.subject.uuid)
            case Release():
                self._release(action)
            case Record():
                self._record(action)

    def _press(self, action: Action) -> None:
        self._prove(action)
        try:
            self._hypervisor.shutdown(action.subject.uuid)
        except NotFound:
            return  # it has ended meanwhile
        self._on_pressed(action.subject.uuid)

    def _release(self, action: Release) -> None:
        """The picture may show the task's hold before its lock, so what the lock says now is part of the proof."""
        subject = action.subject
        proof = self._guarded(subject)
        lock = self._state.find(records.lock(f"vm:{subject.uuid}"))
        if lock is None:
            proof.absent(records.lock(f"vm:{subject.uuid}"))
        elif lock.value.task_id == action.task:
            raise Stale(lock.key.path, "is still held")
        else:
            proof.check(lock)
        proof.commit()
        _log(action)
        self._hypervisor.release(subject.uuid)
        _write_vm(self._state.transaction(), subject, action.vm).commit()

    def _prove(self, action: Action) -> None:
        """Raise Stale unless the machine's record is the one that was decided on. Proven by a transaction rather than a
        read, since a server may answer reads with what was true a moment ago."""
        subject = action.subject
        if subject.vm_version >= 0:
            self._guarded(subject).commit()
        else:
            self._state.store.settle(self._timing.keepalive_interval)
            if self._state.store.get(records.vm(subject.uuid).path) is not None:
                raise Stale(records.vm(subject.uuid).path, "was created meanwhile")
        _log(action)

    def _record(self, action: Record) -> None:
        subject = action.subject
        transaction = self._state.transaction() if action.vm is not None else self._guarded(subject)
        if action.vm is not None:
            _write_vm(transaction, subject, action.vm)
        if action.status is not None:
            _write_status(transaction, subject, action.status)
        transaction.commit()
        _log(action)

    def _start(self, action: Start) -> None:
        subject, claim = action.subject, action.claim
        transaction = self._guarded(subject)
        _write_status(transaction, subject, claim)
        transaction.commit()
        _log(action)
        held = Entry(records.vm_status(subject.uuid), claim, subject.status_version + 1)
        try:
            xml = self._state.get(records.vm_xml(subject.uuid)).value
            if claim.former:
                self._disks.free(xml, self._hosts((*claim.former, claim.node)))
            elif action.unclean:
                self._disks.free(xml)
            domain = self._hypervisor.start(xml)
        except (DriverUnavailable, Unavailable):
            raise  # the claim stays: once libvirt answers, it shows whether the domain runs
        except Conflict:
            log.info("%s runs already", _title(subject))
            return
        except PvcError as error:
            self._failed(action, held, str(error))
            return
        self._on_started(subject.uuid)
        self._state.transaction().update(held, _started(claim, domain)).commit()

    def _hosts(self, nodes: Iterable[str]) -> set[str]:
        """The addresses from which the processes of nodes reach the storage."""
        return {host for node in nodes for host in self._state.get(records.node(node)).value.addresses.hosts()}

    def _failed(self, action: Start, held: Entry[VmStatus], reason: str) -> None:
        status = lifecycle.start_failed(action.claim, reason, self._clock.now(), self._timing)
        log.warning("%s: starting => %s: %s", _title(action.subject), status.run, status.reason)
        self._state.transaction().update(held, status).commit()

    def _guarded(self, subject: Subject) -> Transaction:
        """A transaction that fails when the machine's record has changed since the decision."""
        key = records.vm(subject.uuid)
        return self._state.transaction().raw(Check(key.path, subject.vm_version))


def _write_vm(transaction: Transaction, subject: Subject, vm: Vm) -> Transaction:
    return transaction.update(Entry(records.vm(subject.uuid), vm, subject.vm_version), vm)


def _write_status(transaction: Transaction, subject: Subject, status: VmStatus) -> None:
    key = records.vm_status(subject.uuid)
    if subject.status_version < 0:
        transaction.create(key, status)
    else:
        transaction.update(Entry(key, status, subject.status_version), status)


def _started(claim: VmStatus, domain: Domain) -> VmStatus:
    return replace(claim, run=RunState.RUNNING, former=(), vnc_listen=domain.vnc_listen, vnc_port=domain.vnc_port)


def _title(subject: Subject) -> str:
    return f"vm {subject.name} ({subject.uuid})"


def _log(action: Action) -> None:
    log.info("%s: %s => %s: %s", _title(action.subject), action.old, action.new, action.why)
