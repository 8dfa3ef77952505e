"""Operations for tests of the task system: they write their steps to a file, and wait for another one to appear."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pvc_core.errors import Conflict, DriverError
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane, Role
from pvc_core.ops.base import Operation, Run

POLL_INTERVAL = 0.01


@dataclass(frozen=True)
class Probe(Operation):
    """Three steps, of which the second waits for the file ``<path>.go`` when ``waits``. ``what`` is locked."""

    task_name: ClassVar[str] = "test.probe"
    summary: ClassVar[str] = "write three steps to a file"
    role: ClassVar[Role] = Role.OPERATOR

    path: str
    what: str = ""
    waits: bool = False
    breaks: bool = False
    refused: bool = False

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"volume:test:{self.what}",) if self.what else ()

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.refused:
            raise Conflict("the probe is refused")

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.steps = 3
        run.step("first")
        self.note(f"first of attempt {run.attempt}")
        run.undo("the first step is noted", lambda: self.note("undone"))
        run.step("second")
        while self.waits and not Path(f"{self.path}.go").exists():
            run.checkpoint()
            time.sleep(POLL_INTERVAL)
        if self.breaks:
            raise DriverError("the probe broke")
        run.step("third")
        self.note("third")
        return {"message": "probed", "path": self.path}

    def note(self, line: str) -> None:
        with Path(self.path).open("a") as file:
            file.write(f"{line}\n")


@dataclass(frozen=True)
class ResumableProbe(Probe):
    task_name: ClassVar[str] = "test.resumable"
    resumable: ClassVar[bool] = True


@dataclass(frozen=True)
class BulkProbe(Probe):
    task_name: ClassVar[str] = "test.bulk"
    lane: ClassVar[Lane] = Lane.BULK


@dataclass(frozen=True)
class AdministratorProbe(Probe):
    task_name: ClassVar[str] = "test.administrator"
    role: ClassVar[Role] = Role.ADMINISTRATOR


@dataclass(frozen=True)
class ParentProbe(Operation):
    """Sends a probe for each of ``paths`` and tells of those that failed."""

    task_name: ClassVar[str] = "test.parent"
    summary: ClassVar[str] = "send probes"
    lane: ClassVar[Lane] = Lane.BULK

    paths: tuple[str, ...]
    waits: bool = False
    timeout: float = 30.0
    at_once: int = 10

    def execute(self, run: Run) -> Mapping[str, Any]:
        run.step("children")
        probes: list[Operation] = [
            Probe(
                path,
                what="one" if "one" in Path(path).name else "",
                waits=self.waits,
                breaks="breaks" in path,
                refused="refused" in path,
            )
            for path in self.paths
        ]
        failed = run.progress.wait_children(
            probes, self.timeout, self.at_once, lambda ended: run.part(ended, len(probes))
        )
        return {"message": "sent", "failed": {operation.path: why for operation, why in failed}}
