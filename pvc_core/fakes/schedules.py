"""Schedules and reports in memory."""

from __future__ import annotations

from collections.abc import Sequence

from pvc_core.errors import DriverError, NotFound
from pvc_core.model.backup import BackupPlan, MirrorPlan, Report, RestoreTest


class FakeSchedules:
    """See ``pvc_core.ports.Schedules``."""

    def __init__(self, *plans: BackupPlan | MirrorPlan) -> None:
        self.backups = {plan.name: plan for plan in plans if isinstance(plan, BackupPlan)}
        self.mirrors = {plan.name: plan for plan in plans if isinstance(plan, MirrorPlan)}
        self.tests: list[RestoreTest] = []

    def backup(self, name: str) -> BackupPlan:
        if name not in self.backups:
            raise NotFound(f"there is no backup schedule {name!r}")
        return self.backups[name]

    def mirror(self, name: str) -> MirrorPlan:
        if name not in self.mirrors:
            raise NotFound(f"there is no mirror schedule {name!r}")
        return self.mirrors[name]

    def record(self, test: RestoreTest) -> None:
        self.tests.append(test)


class FakeReports:
    """See ``pvc_core.ports.Reports``. ``broken`` is why nothing can be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Report, tuple[str, ...], str]] = []
        self.broken = ""

    def send(self, report: Report, mail: Sequence[str], web_hook: str) -> None:
        if self.broken:
            raise DriverError(self.broken)
        self.sent.append((report, tuple(mail), web_hook))
