"""Backups by schedule, on a cluster in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.errors import BadRequest, Failed, NotFound
from pvc_core.fakes.commands import FakeCommands
from pvc_core.fakes.schedules import FakeReports, FakeSchedules
from pvc_core.fakes.targets import FakeTargets
from pvc_core.model.backup import BackupPlan, Retention
from pvc_core.model.vm import Tag, VmState
from pvc_core.model.vm_snapshot import Purpose
from pvc_core.ops.autobackup import Autobackup, AutobackupPreview
from pvc_core.ops.base import Operation
from pvc_core.ops.vm_snapshot import VmSnapshotCreate, VmSnapshotRemove
from pvc_core.state import records
from pvc_core.transfer.backup import chain, check_export, exports, prefix_of
from tests.unit.ops.house import House, Watcher

KEPT = (Tag("kept"),)
STORE = "/backups"


class Site:
    """A house with a schedule, a store, and what was reported."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.targets, self.reports, self.commands = FakeTargets(), FakeReports(), FakeCommands()
        self.plan = BackupPlan("nightly", STORE, tags=("kept",), full_interval=3, mail=("ops@example.com",))

    @property
    def store(self) -> Any:
        with self.targets.open(STORE) as target:
            return target

    def run(self, operation: Operation | None = None, watcher: Watcher | None = None) -> Any:
        self.house.lab.clock.advance(86400)
        tools = {
            "targets": self.targets,
            "reports": self.reports,
            "commands": self.commands,
            "schedules": FakeSchedules(self.plan),
        }
        watcher = watcher or Watcher(self.house)
        watcher.tools = tools
        return self.house.run(operation or Autobackup(("nightly",)), watcher=watcher, **tools)

    def plan_with(self, **fields: Any) -> None:
        self.plan = replace(self.plan, **fields)

    def write(self, disk: str, offset: int, content: bytes) -> None:
        with self.house.blocks.open("vms", disk, writable=True) as image:
            image.write(offset, content)
            image.flush()

    def kinds(self, vm: str) -> list[str]:
        return ["full" if each.full else "increment" for each in exports(self.store, vm)]

    def snapshots(self, uuid: str) -> list[str]:
        self.house.view.settle()
        return sorted(self.house.view.snapshot().vm_snapshots.get(uuid, {}))


@pytest.fixture
def site(house: House) -> Site:
    return Site(house)


def test_the_machines_of_its_tags_are_backed_up_and_reported(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.house.define(2)
    site.write("disk1", 0, b"hello" * 1000)
    result = site.run()
    assert list(result["vms"]) == ["vm1"]
    assert site.kinds("vm1") == ["full"]
    (report, mail, _) = site.reports.sent[0]
    assert report.succeeded
    assert mail == ("ops@example.com",)
    assert [outcome.vm for outcome in report.outcomes] == ["vm1"]


def test_one_backup_in_so_many_is_full_and_the_others_differ_from_it(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    for number in range(5):
        site.write("disk1", number * 4096, b"x" * 4096)
        site.run()
    assert site.kinds("vm1") == ["full", "increment", "increment", "full", "increment"]
    found = exports(site.store, "vm1")
    assert {each.parent for each in found} == {"", found[0].snapshot.name, found[3].snapshot.name}
    for each in found:
        for link in chain(site.store, prefix_of("vm1", each.snapshot.name)):
            assert not check_export(site.store, link)


def test_only_the_snapshot_of_the_newest_full_backup_stays(site: Site) -> None:
    uuid = site.house.define(1, tags=KEPT)
    for _ in range(5):
        site.run()
    assert site.snapshots(uuid) == [exports(site.store, "vm1")[3].snapshot.name]


def test_snapshots_of_others_are_left_alone(site: Site) -> None:
    uuid = site.house.define(1, tags=KEPT)
    for name, purpose in (("mine", Purpose.USER), ("backup-weekly-20260101000000", Purpose.BACKUP)):
        site.house.run(VmSnapshotCreate(uuid, name, purpose))
    site.run()
    assert {"mine", "backup-weekly-20260101000000"} < set(site.snapshots(uuid))


def test_a_full_backup_is_made_when_the_parent_snapshot_is_gone(site: Site) -> None:
    uuid = site.house.define(1, tags=KEPT)
    site.run()
    site.house.run(VmSnapshotRemove(uuid, site.snapshots(uuid)[0]))
    site.run()
    assert site.kinds("vm1") == ["full", "full"]


def test_a_full_backup_can_be_forced(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.run()
    site.run(Autobackup(("nightly",), force_full=True))
    assert site.kinds("vm1") == ["full", "full"]


def test_retention_removes_old_backups_and_keeps_the_full_one_that_is_needed(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(retention=Retention(last=2))
    for _ in range(6):  # two fulls with two increments each
        site.run()
    assert site.kinds("vm1") == ["full", "increment", "increment"]


def test_nothing_old_is_removed_when_the_new_backup_fails(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(retention=Retention(last=1), full_interval=1)
    site.run()
    before = dict(site.store.objects)
    site.write("disk1", 0, bytes(range(256)) * 4096)
    site.store.capacity = sum(map(len, before.values())) + 100
    with pytest.raises(Failed, match="full; free some space"):
        site.run()
    assert site.store.objects == before
    assert not site.reports.sent[-1][0].succeeded


def test_one_machine_that_fails_does_not_keep_the_others_from_it(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    broken = site.house.define(2, tags=KEPT)
    site.house.change(broken, state=VmState.START)
    site.house.lab.advance(10)
    site.house.stop_daemon("n1")
    site.house.hypervisor("n1").destroy(broken)
    with pytest.raises(Failed) as caught:
        site.run()
    assert any("vm2" in line for line in caught.value.left)
    assert site.kinds("vm1") == ["full"]


def test_a_machine_that_another_holds_for_a_moment_is_tried_again(site: Site) -> None:
    uuid = site.house.define(1, tags=KEPT)
    site.house.state.put(records.lock(f"vm:{uuid}"), records.Lock("another"))
    watcher = Watcher(site.house)
    report = watcher.report
    tries = 0

    def let_go(current: int, total: int, message: str) -> None:
        nonlocal tries
        report(current, total, message)
        if "taking snapshots" in message:
            tries += 1
            entry = site.house.state.find(records.lock(f"vm:{uuid}"))
            if tries == 3 and entry is not None:
                site.house.state.transaction().delete(entry).commit()

    watcher.report = let_go  # type: ignore[method-assign]
    site.run(watcher=watcher)
    assert site.kinds("vm1") == ["full"]


def test_a_backup_is_read_back_when_that_is_asked_for(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.write("disk1", 0, bytes(range(256)) * 64)
    site.plan_with(verify=True)
    site.run()
    store = site.store
    write = store.write
    store.write = lambda name: _Flipping(write(name)) if name.endswith(".pvcf") else write(name)
    with pytest.raises(Failed, match="disk vms/disk1"):
        site.run(Autobackup(("nightly",), force_full=True))
    assert site.kinds("vm1") == ["full"]


class _Flipping:
    """A stream that stores another byte than it was given."""

    def __init__(self, context: Any) -> None:
        self.context = context

    def __enter__(self) -> Any:
        self.file = self.context.__enter__()
        write = self.file.write
        self.file.write = lambda content: write(bytes((content[0] ^ (len(content) > 100), *content[1:])))
        return self.file

    def __exit__(self, *error: object) -> Any:
        return self.context.__exit__(*error)


def test_a_cancelled_backup_leaves_nothing_that_could_be_restored(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    with pytest.raises(Failed):
        site.run(watcher=Watcher(site.house, cancel_at="backing up"))
    assert site.store.objects == {} or site.kinds("vm1") == ["full"]


def test_what_a_dead_writer_left_is_cleared_away_by_the_next_run(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    others = {"vm1/backup-weekly-20200101000000/0.pvcf", "vm1/by-hand/0"}
    for name in ("vm1/backup-nightly-20200101000000/0.pvcf", *others):
        with site.store.write(name) as file:
            file.write(b"x")
    site.run()
    assert "vm1/backup-nightly-20200101000000/0.pvcf" not in site.store.objects
    assert others < site.store.objects.keys()


def test_programs_run_before_and_after_without_a_shell(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(mount=("/bin/mount 'my disk' /backups",), unmount=("/bin/umount /backups",))
    site.run()
    assert site.commands.ran == [("/bin/mount", "my disk", "/backups"), ("/bin/umount", "/backups")]


def test_without_its_mount_nothing_is_written_and_the_end_is_run_all_the_same(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(mount=("/bin/mount x /backups",), unmount=("/bin/umount /backups",))
    site.commands.failing["/bin/mount"] = "no such device"
    with pytest.raises(Failed, match="no such device"):
        site.run()
    assert not site.targets.stores.get(STORE) or not site.store.objects
    assert site.commands.ran[-1] == ("/bin/umount", "/backups")
    assert not site.reports.sent[-1][0].succeeded


def test_a_report_that_cannot_be_sent_is_told_by_the_task(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.reports.broken = "mail server gone"
    with pytest.raises(Failed, match="mail server gone"):
        site.run()
    assert site.kinds("vm1") == ["full"]


def test_a_report_of_errors_only_is_not_sent_when_all_is_well(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(errors_only=True)
    site.run()
    assert site.reports.sent == []


def test_a_named_machine_that_is_not_there_is_a_problem(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    site.plan_with(vms=("vm9",))
    with pytest.raises(Failed, match="vm9"):
        site.run()
    assert site.kinds("vm1") == ["full"]


def test_an_unknown_schedule_is_refused(site: Site) -> None:
    with pytest.raises((NotFound, Failed), match="hourly"):
        site.run(Autobackup(("hourly",)))
    with pytest.raises(BadRequest):
        site.run(Autobackup(()))


def test_a_preview_tells_what_would_go_and_changes_nothing(site: Site) -> None:
    site.house.define(1, tags=KEPT)
    for _ in range(4):
        site.run()
    before = dict(site.store.objects)
    result = site.run(AutobackupPreview("nightly", keep="last=1"))
    assert [each["keep"] for each in result["backups"]] == [True, False, False, False]
    assert site.store.objects == before
