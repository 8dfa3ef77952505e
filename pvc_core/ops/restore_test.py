"""Whether backups restore: a copy of a machine is made from its newest backup, started apart from everything, watched
until it has booted, and removed."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound, PvcError
from pvc_core.model import backup as model
from pvc_core.model.backup import BackupPlan, BootSign, Report, RestoreCheck
from pvc_core.model.domain_edit import set_name, set_uuid, set_volumes, without_outside
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane
from pvc_core.ops.autobackup import own_exports
from pvc_core.ops.base import WAIT_SLICE, Operation, Run
from pvc_core.ops.common import VmOperation, find_vm, parts_of
from pvc_core.ops.import_steps import Import, import_machine
from pvc_core.ops.planned import STOPS, machines_of, mounted, outcomes_of, send, tell
from pvc_core.ops.vm_define import VmDefine
from pvc_core.ops.vm_power import VmStart
from pvc_core.ops.vm_remove import VmRemove
from pvc_core.ports import BackupTarget
from pvc_core.rules.placement import choose_node
from pvc_core.transfer.backup import chain, prefix_of
from pvc_core.transfer.encryption import read_identity_file

TEST_TIMEOUT = 2 * 86400.0  # seconds for the tests of a schedule's machines
TAG = "restore-test"
_NAMESPACE = uuid.UUID("7d2b3c52-6f0e-4f7e-9a51-3f6f2e1f6d10")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_LONGEST = 1 << 20  # characters of a console that are looked at


@dataclass(frozen=True)
class RestoreTest(Operation):
    """Try to restore the newest backup of each machine of a schedule, one after the other."""

    schedule: str

    task_name = "vm.restore_test"
    summary = "Test whether the backups of a schedule restore"

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"restore-test:{self.schedule}",)

    def execute(self, run: Run) -> Mapping[str, Any]:
        plan = run.tools.schedules.backup(self.schedule)
        _check_of(plan)
        machines, problems = machines_of(run.snapshot, plan)
        began, tests = run.tools.clock.now(), []
        failed: dict[str, str] = {}
        for entry in machines:
            try:
                node = choose_node(run.snapshot, entry.vm, entry.vm.size.memory)
                tests.append(VmRestoreTest(entry.vm.uuid, plan.name, node))
            except Conflict as error:
                failed[entry.vm.uuid] = f"no node has room for a copy: {error}"
        run.step(f"Restoring copies of {len(tests)} VMs")
        for operation, reason in send(run, tests, TEST_TIMEOUT, 1):
            if isinstance(operation, VmRestoreTest):
                failed[operation.vm] = reason
        done = {entry.vm.uuid: "its newest backup restores and boots" for entry in machines}
        outcomes = outcomes_of(machines, failed, done)
        ended = run.tools.clock.now()
        report = Report(run.snapshot.fsid, plan.name, "restore test", began, ended, outcomes, tuple(problems))
        report = tell(run, plan, report, (), plan.errors_only)
        if not report.succeeded:
            raise Failed(f"not all backups restore: {'; '.join(report.failures)}", left=report.failures)
        return {"message": f"The newest backups of {len(machines)} VMs restore and boot"}


@dataclass(frozen=True)
class VmRestoreTest(VmOperation):
    """Try to restore the newest backup of one machine on ``node``, and keep the result."""

    schedule: str
    node: str

    task_name = "vm.restore_test.one"
    summary = "Test whether the backup of a VM restores"
    lane = Lane.BULK

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (f"restore-test:{self.schedule}:{self.vm}",)

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        find_vm(snapshot, self.vm)

    @property
    def copy(self) -> str:
        """The uuid of the copy, always the same one, so that what a worker left that died is found."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.schedule}:{self.vm}"))

    def execute(self, run: Run) -> Mapping[str, Any]:
        plan = run.tools.schedules.backup(self.schedule)
        entry, check, began = find_vm(run.snapshot, self.vm), _check_of(plan), run.tools.clock.now()
        backup, message = "", "it restores and boots"
        problems: list[str] = []
        error: PvcError | None = None
        try:
            with mounted(run, plan, problems), run.tools.targets.open(plan.target) as target:
                known = own_exports(target, entry, plan)
                if not known:
                    raise NotFound(f"{plan.target} has no backup of VM {entry.vm.name} by schedule {plan.name}")
                backup = known[-1].snapshot.name
                self._try(run, target, prefix_of(entry.vm.name, backup), check)
        except STOPS:
            raise
        except PvcError as caught:
            error, message = caught, caught.message
        ended = run.tools.clock.now()
        run.tools.schedules.record(
            model.RestoreTest(plan.name, entry.vm.name, backup, ended, error is None, message, ended - began)
        )
        if error is not None:
            raise Failed(f"the backup {backup} of VM {entry.vm.name} does not restore: {message}") from error
        return {"message": "; ".join([f"VM {entry.vm.name}: {backup} restores and boots", *problems])}

    def _try(self, run: Run, target: BackupTarget, prefix: str, check: RestoreCheck) -> None:
        links = tuple(chain(target, prefix))
        newest = links[-1].manifest
        identities = (read_identity_file(check.identity_file),) if check.identity_file else ()
        if newest.encrypted and not identities:
            raise BadRequest("the backup is encrypted, and the schedule names no identity_file")
        volumes = {
            disk.volume: f"{check.pool or disk.volume.partition('/')[0]}/{TAG}-{self.copy}-{number}"
            for number, disk in enumerate(newest.disks)
        }
        xml = set_volumes(without_outside(newest.config.xml), volumes)
        name = f"{TAG}-{self.copy[:8]}-{newest.config.name}"[:100]
        define = VmDefine(
            set_uuid(set_name(xml, name), self.copy), node=self.node, node_limit=(self.node,), user_tags=(TAG,)
        )
        wanted = Import(links, define, volumes, retain=False, identities=identities)
        with self._removed_after(run, volumes):
            run.plan(wanted.steps + 2)
            import_machine(run, target, wanted)
            VmStart(self.copy).execute(run)
            run.plan(1)
            run.step("Waiting until the copy has booted")
            self._wait_booted(run, check, name)

    @contextmanager
    def _removed_after(self, run: Run, volumes: Mapping[str, str]) -> Iterator[None]:
        """The copy is removed whatever happens, and first of all one that a dead worker left."""
        self._remove(run, volumes)
        try:
            yield
        finally:
            run.tools.view.settle()
            self._remove(run, volumes)

    def _remove(self, run: Run, volumes: Mapping[str, str]) -> None:
        if self.copy in run.snapshot.vms:
            VmRemove(self.copy).execute(run)
            run.tools.view.settle()
        for full_name in volumes.values():  # of an import that broke off with its worker
            pool, volume = parts_of(full_name)
            if full_name not in run.snapshot.volumes and run.tools.blocks.exists(pool, volume):
                run.tools.blocks.remove(pool, volume)

    def _wait_booted(self, run: Run, check: RestoreCheck, name: str) -> None:
        """Raises Failed when it does not boot in time, and Cancelled."""
        deadline = run.tools.clock.monotonic() + check.timeout
        if check.sign is BootSign.SCRIPT:
            command = [*shlex.split(check.argument), name, self.copy]
            run.tools.commands.run(command, check.timeout, run.progress.cancel_requested)
            return
        shows = self._sign(run, check)
        while not shows():
            if run.progress.cancel_requested():
                raise Cancelled("cancelled on request")
            if run.tools.clock.monotonic() >= deadline:
                raise Failed(f"the copy did not boot within {check.timeout:.0f} s ({_say(check)})")
            run.tools.view.wait(lambda _: False, WAIT_SLICE)

    def _sign(self, run: Run, check: RestoreCheck) -> Callable[[], bool]:
        if check.sign is BootSign.AGENT:
            return lambda: _agent_answers(run, self.copy)
        console = _Console(Path(run.tools.config.daemon.console_directory) / f"{self.copy}.log", check.argument)
        return console.shows


class _Console:
    """Looks for a pattern in what a machine writes to its serial console."""

    def __init__(self, path: Path, pattern: str) -> None:
        self._path = path
        self._pattern = re.compile(pattern)
        self._read = 0
        self._text = ""

    def shows(self) -> bool:
        try:
            if self._path.stat().st_size < self._read:  # it was emptied, as it had become long
                self._read = 0
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read(_LONGEST)
        except OSError:
            return False  # QEMU has not made it yet
        self._read += len(content)
        self._text = (self._text + _CONTROL.sub("", content.decode(errors="replace")))[-_LONGEST:]
        return self._pattern.search(self._text) is not None


def _agent_answers(run: Run, vm: str) -> bool:
    try:
        return run.tools.hypervisor.freeze(vm)
    except NotFound:
        return False
    finally:
        run.tools.hypervisor.release(vm)


def _check_of(plan: BackupPlan) -> RestoreCheck:
    if plan.test is None:
        raise Conflict(f"schedule {plan.name} has no restore test: set test_when and test_sign")
    return plan.test


def _say(check: RestoreCheck) -> str:
    if check.sign is BootSign.AGENT:
        return "its guest agent does not answer"
    return f"its console does not show {check.argument!r}"
