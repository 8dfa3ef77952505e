"""One run of a row of the table, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.failover.observer import Observer
from lab.failover.rig import Rig
from lab.failover.rows import RECOVERY_LIMIT, Row


@dataclass
class Outcome:
    """What came of all runs of a row."""

    runs: int = 0
    seconds: list[float] = field(default_factory=list)  # from the fault to a new QEMU, of each machine in each run
    twice: int = 0  # runs in which a machine could write from two nodes
    remarks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run_once(rig: Rig, row: Row, outcome: Outcome) -> None:
    """One run, from a healthy cluster to a healthy one. Raises LabError when it went otherwise than the row says."""
    outcome.runs += 1
    rig.repair()
    rig.gather(rig.leader() if row.leads else row.victim)
    if row.leads:
        rig.lead(rig.victim)
    with Observer(rig.cluster, tuple(rig.uuids.values()), rig.may_write) as rig.observer:
        rig.began = time.monotonic()
        row.fault(rig)
        if row.recovers:
            outcome.seconds += rig.recovery(rig.began, RECOVERY_LIMIT)
            rig.await_guests()
        else:
            time.sleep(row.lasts)
            if any(rig.observer.came(uuid, rig.began) is not None for uuid in rig.uuids.values()):
                raise LabError("a machine was started that should have been left alone")
        if row.after is not None:
            outcome.remarks.append(row.after(rig))
        outcome.twice += bool(rig.observer.twice)
        rig.repair()
        rig.check_disks()
