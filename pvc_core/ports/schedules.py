"""What people have planned, and how they hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pvc_core.model.backup import BackupPlan, MirrorPlan, Report, RestoreTest


class Schedules(Protocol):
    """The schedules, as they are in the database now."""

    def backup(self, name: str) -> BackupPlan:
        """NotFound."""
        ...

    def mirror(self, name: str) -> MirrorPlan:
        """NotFound."""
        ...

    def record(self, test: RestoreTest) -> None:
        """Keep the result of a restore test."""
        ...


class Reports(Protocol):
    """Reports to people and programs outside."""

    def send(self, report: Report, mail: Sequence[str], web_hook: str) -> None:
        """Send it to the addresses, and as JSON to the web hook unless that is empty. Raises DriverError when any of it
        was not sent; its message holds no part of the web hook's path, which may be secret."""
        ...
