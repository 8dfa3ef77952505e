"""Faults: to say that one was seen, or that it is not to be kept. The primary raises and drops them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pvc_core.errors import NotFound
from pvc_core.model.fault import Fault, FaultStatus
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.ops.base import Operation, Run
from pvc_core.ops.steps import commit
from pvc_core.state import records
from pvc_core.state.cluster import Entry, Transaction


@dataclass(frozen=True)
class FaultOperation(Operation):
    """An operation on one fault, named by its id, or on all there are."""

    fault: str = ""  # empty: all

    done: ClassVar[str]  # what it has become, for the message
    resumable = True

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"fault:{self.fault}",) if self.fault else ("faults",)

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.fault and self.fault not in snapshot.faults:
            raise NotFound(f"there is no fault {self.fault!r}")

    def check_again(self, snapshot: ClusterSnapshot) -> None:
        """It may be gone by now."""

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("Writing")
        commit(run, lambda transaction: self._prepare(run, transaction))
        return {"message": f"Fault {self.fault} is {self.done}" if self.fault else f"All faults are {self.done}"}

    def _prepare(self, run: Run, transaction: Transaction) -> None:
        keys = [self.fault] if self.fault else run.tools.state.store.children(records.FAULTS)
        for key in keys:
            entry = run.tools.state.find(records.fault(key))
            if entry is not None:
                self._write(transaction, entry, run.tools.clock.now())

    def _write(self, transaction: Transaction, entry: Entry[Fault], now: float) -> None:
        raise NotImplementedError(self.task_name)


@dataclass(frozen=True)
class FaultAcknowledge(FaultOperation):
    """It lowers the health no more, unless it becomes worse, and goes when its cause has."""

    task_name = "fault.acknowledge"
    summary = "Acknowledge a fault, or all"
    done = "acknowledged"

    def _write(self, transaction: Transaction, entry: Entry[Fault], now: float) -> None:
        if entry.value.status is not FaultStatus.ACK:
            transaction.update(entry, replace(entry.value, status=FaultStatus.ACK, acknowledged_at=now))


@dataclass(frozen=True)
class FaultDelete(FaultOperation):
    """It comes back as a new one if its cause is still there."""

    task_name = "fault.delete"
    summary = "Delete a fault, or all"
    done = "deleted"

    def _write(self, transaction: Transaction, entry: Entry[Fault], now: float) -> None:
        transaction.delete(entry)
