"""Schedules, targets and results of restore tests for the operations that use them."""

from __future__ import annotations

from datetime import UTC, datetime

from pvc_core.errors import NotFound
from pvc_core.model.backup import (
    BackupPlan,
    BootSign,
    MirrorPlan,
    RestoreCheck,
    RestoreTest,
    Retention,
    StoredTarget,
)
from pvc_web.database.names import those_there
from pvc_web.schedules.models import BackupSchedule, BackupTarget, MirrorSchedule, RestoreTestResult


def find_target(name: str) -> StoredTarget:
    """Raises NotFound."""
    target = BackupTarget.objects.filter(name=name).first()
    if target is None:
        raise NotFound(
            f"{name!r} is neither an absolute path nor a URI nor a stored target, of which {those_there(BackupTarget)}"
        )
    return StoredTarget(target.name, target.uri, target.credentials)


class StoredSchedules:
    """See ``pvc_core.ports.Schedules``."""

    def backup(self, name: str) -> BackupPlan:
        found = BackupSchedule.objects.filter(name=name).first()
        if found is None:
            raise NotFound(f"there is no backup schedule {name!r}")
        test = RestoreCheck(
            BootSign(found.test_sign), found.test_argument, found.test_timeout, found.identity_file, found.test_pool
        )
        return BackupPlan(
            name=found.name,
            target=found.target,
            tags=tuple(found.tags),
            vms=tuple(found.vms),
            retention=Retention.parse(found.keep),
            full_interval=found.full_interval,
            compress=found.compress,
            recipients=tuple(found.recipients),
            verify=found.verify,
            mail=tuple(found.mail),
            errors_only=found.errors_only,
            web_hook=found.web_hook,
            mount=tuple(found.mount),
            unmount=tuple(found.unmount),
            test=test if found.test_when else None,
        )

    def mirror(self, name: str) -> MirrorPlan:
        found = MirrorSchedule.objects.filter(name=name).first()
        if found is None:
            raise NotFound(f"there is no mirror schedule {name!r}")
        return MirrorPlan(
            name=found.name,
            peer=found.peer,
            tags=tuple(found.tags),
            vms=tuple(found.vms),
            pool=found.pool,
            keep=found.keep,
            peer_keep=found.peer_keep,
            goal=float(found.goal),
            mail=tuple(found.mail),
            errors_only=found.errors_only,
            web_hook=found.web_hook,
        )

    def record(self, test: RestoreTest) -> None:
        RestoreTestResult.objects.create(
            schedule=test.schedule,
            vm=test.vm,
            backup=test.backup,
            at=datetime.fromtimestamp(test.time, UTC),
            seconds=test.seconds,
            passed=test.passed,
            message=test.message,
        )
