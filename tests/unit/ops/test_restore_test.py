"""Whether backups restore, on a cluster in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvc_core.config import Config
from pvc_core.errors import Failed
from pvc_core.fakes.commands import FakeCommands
from pvc_core.fakes.schedules import FakeReports, FakeSchedules
from pvc_core.fakes.targets import FakeTargets
from pvc_core.model.backup import BackupPlan, BootSign, RestoreCheck
from pvc_core.model.domain import parse
from pvc_core.model.vm import Tag
from pvc_core.ops.autobackup import Autobackup
from pvc_core.ops.base import Operation
from pvc_core.ops.restore_test import RestoreTest, VmRestoreTest
from tests.unit.ops.house import House, Watcher

SCRIPT = RestoreCheck(BootSign.SCRIPT, "/usr/local/bin/looks-well --quickly", timeout=30)
PLAN = BackupPlan("nightly", "/backups", tags=("kept",), full_interval=7, mail=("ops@example.com",), test=SCRIPT)


class Site:
    def __init__(self, house: House) -> None:
        self.house = house
        self.schedules, self.plan = FakeSchedules(PLAN), PLAN
        self.reports, self.commands = FakeReports(), Guests(house)
        self.tools = {
            "schedules": self.schedules,
            "reports": self.reports,
            "commands": self.commands,
            "targets": FakeTargets(),
        }

    def run(self, operation: Operation) -> Any:
        self.house.lab.clock.advance(3600)
        return self.house.run(operation, watcher=Watcher(self.house, tools=self.tools), **self.tools)

    def test_with(self, check: RestoreCheck) -> None:
        self.schedules.backups["nightly"] = replace(PLAN, test=check)


class Guests(FakeCommands):
    """Notes what ran when the script was called."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.seen: list[str] = []

    def run(self, command: Any, *rest: Any, **more: Any) -> None:
        self.seen = [guest.xml for host in self.house.lab.rack.hosts.values() for guest in host.guests.values()]
        super().run(command, *rest, **more)


@pytest.fixture
def site(house: House) -> Site:
    site = Site(house)
    house.define(1, tags=(Tag("kept"),))
    with house.blocks.open("vms", "disk1", writable=True) as image:
        image.write(0, b"precious" * 512)
    site.run(Autobackup(("nightly",)))
    site.reports.sent.clear()
    return site


def test_a_copy_is_started_apart_from_everything_and_removed(site: Site) -> None:
    before = site.house.picture()
    site.run(RestoreTest("nightly"))
    (xml,) = site.commands.seen
    copy = parse(xml)
    assert copy.name.startswith("restore-test-")
    assert copy.networks == ()
    assert copy.volumes != ("vms/disk1",)
    assert site.house.picture() == before
    (test,) = site.schedules.tests
    assert (test.vm, test.passed) == ("vm1", True)
    assert site.reports.sent[0][0].succeeded


def test_the_script_hears_which_machine_it_is(site: Site) -> None:
    site.run(RestoreTest("nightly"))
    program, option, name, uuid = site.commands.ran[-1]
    assert (program, option) == ("/usr/local/bin/looks-well", "--quickly")
    assert name.endswith("vm1")
    assert len(uuid) == 36


def test_one_that_does_not_boot_is_told_kept_and_removed(site: Site) -> None:
    before = site.house.picture()
    site.commands.failing["/usr/local/bin/looks-well"] = "no login prompt"
    with pytest.raises(Failed, match="no login prompt"):
        site.run(RestoreTest("nightly"))
    assert site.house.picture() == before
    assert not site.schedules.tests[0].passed
    assert "no login prompt" in site.schedules.tests[0].message
    assert not site.reports.sent[0][0].succeeded


def test_a_damaged_backup_does_not_pass(site: Site) -> None:
    before = site.house.picture()
    objects = site.tools["targets"].stores["/backups"].objects  # type: ignore[attr-defined]
    name = next(name for name in objects if name.endswith(".pvcf"))
    objects[name] = objects[name][:60] + bytes((objects[name][60] ^ 1,)) + objects[name][61:]
    with pytest.raises(Failed, match="disk1"):
        site.run(RestoreTest("nightly"))
    assert not site.schedules.tests[0].passed
    assert site.house.picture() == before


def test_without_a_backup_it_fails(site: Site) -> None:
    site.tools["targets"].stores.clear()  # type: ignore[attr-defined]
    with pytest.raises(Failed, match="no backup"):
        site.run(RestoreTest("nightly"))


def test_the_guest_agent_of_the_copy_may_answer(site: Site) -> None:
    site.test_with(RestoreCheck(BootSign.AGENT, timeout=20))
    vm = site.house.view.snapshot().vm_names["vm1"]
    for host in site.house.lab.rack.hosts.values():
        host.agents.add(VmRestoreTest(vm, "nightly", "").copy)
    site.run(RestoreTest("nightly"))
    for host in site.house.lab.rack.hosts.values():
        host.agents.clear()
    with pytest.raises(Failed, match="agent does not answer"):
        site.run(RestoreTest("nightly"))


def test_the_console_of_the_copy_may_show_it(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.test_with(RestoreCheck(BootSign.CONSOLE, r"login:\s*$", timeout=20))
    uuid = site.house.view.snapshot().vm_names["vm1"]
    copy = VmRestoreTest(uuid, "nightly", "n1").copy
    config = site.house.config

    def with_console(node: str) -> Config:
        found = config(node)
        return replace(found, daemon=replace(found.daemon, console_directory=str(tmp_path)))

    monkeypatch.setattr(site.house, "config", with_console)
    (tmp_path / f"{copy}.log").write_text("booting\r\n\x1b[1mweb1 login: \x1b[0m")
    site.run(RestoreTest("nightly"))
    (tmp_path / f"{copy}.log").write_text("kernel panic\r\n")
    with pytest.raises(Failed, match="console does not show"):
        site.run(RestoreTest("nightly"))
