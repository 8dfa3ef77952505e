"""What only the driver for libvirt has to do: a migration that takes its time, and the console's log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.errors import Cancelled
from pvc_core.ports import DomainRun, MigrationProgress
from tests.contract.hypervisors import Guest, LibvirtWorld

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def nodes() -> Iterator[LibvirtWorld]:
    world = LibvirtWorld()
    yield world
    world.close()


@pytest.fixture
def world(nodes: LibvirtWorld) -> Iterator[LibvirtWorld]:
    yield nodes
    nodes.clear()


def test_a_migration_under_way_is_aborted_and_the_domain_runs_on(world: LibvirtWorld) -> None:
    machine = world.machine()
    world.here.start(machine.xml)
    world.limit_migration(machine, 1)
    seen: list[MigrationProgress] = []
    with pytest.raises(Cancelled):
        world.here.migrate(machine.uuid, world.target, 300, seen.append, lambda: bool(seen))
    assert world.here.domains()[machine.uuid].run is DomainRun.RUNNING
    assert machine.uuid not in {domain.uuid for domain in world.there.domains().values() if domain.alive}
    assert seen[0].done < seen[0].total


def test_what_a_guest_says_on_its_console_is_logged(world: LibvirtWorld) -> None:
    machine = world.machine(Guest.LINUX)
    world.here.start(machine.xml)
    world.run(machine)
    assert "guest: count" in world.console(machine)


def test_a_domain_that_fails_to_start_says_why(world: LibvirtWorld) -> None:
    machine = world.machine()
    path = next(Path(part) for part in machine.xml.split("'") if part.endswith(".raw"))
    path.unlink()
    with pytest.raises(Exception, match=path.name):
        world.here.start(machine.xml)
    assert machine.uuid not in {domain.uuid for domain in world.here.domains().values() if domain.alive}
