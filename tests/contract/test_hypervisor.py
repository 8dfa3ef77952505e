"""What every Hypervisor does, whether libvirt stands behind it or memory."""

from __future__ import annotations

import threading

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, DriverError, DriverUnavailable, Failed, NotFound
from pvc_core.ports import Domain, DomainRun, Hypervisor, MigrationProgress
from tests.contract.hypervisors import Guest, HypervisorWorld, Machine, disk_xml
from tests.contract.worlds import eventually

MISSING = "00000000-0000-4000-8000-000000000000"


def ignore(progress: MigrationProgress) -> None:
    pass


def never() -> bool:
    return False


def run_of(hypervisor: Hypervisor, machine: Machine) -> DomainRun | None:
    domain = hypervisor.domains().get(machine.uuid)
    return None if domain is None else domain.run


def ended(hypervisor: Hypervisor, machine: Machine) -> Domain:
    """Wait until a machine has ended; what is known of that."""
    eventually(lambda: run_of(hypervisor, machine) is not DomainRun.RUNNING, timeout=30)
    return hypervisor.domains()[machine.uuid]


@pytest.fixture
def idle(hypervisors: HypervisorWorld) -> Machine:
    """A machine that runs."""
    machine = hypervisors.machine()
    hypervisors.here.start(machine.xml)
    return machine


def test_a_domain_that_was_started_is_listed_as_running(hypervisors: HypervisorWorld) -> None:
    machine = hypervisors.machine()
    started = hypervisors.here.start(machine.xml)
    assert (started.uuid, started.name, started.run) == (machine.uuid, machine.name, DomainRun.RUNNING)
    assert started.vnc_listen == "127.0.0.1"
    assert started.vnc_port >= 5900
    assert hypervisors.here.domains()[machine.uuid] == started
    assert machine.uuid not in hypervisors.there.domains()


def test_a_domain_is_started_once(hypervisors: HypervisorWorld, idle: Machine) -> None:
    with pytest.raises(Conflict):
        hypervisors.here.start(idle.xml)


@pytest.mark.parametrize("xml", ["<domain><name>", "<disk/>"])
def test_what_is_no_domain_is_refused(hypervisors: HypervisorWorld, xml: str) -> None:
    with pytest.raises(BadRequest):
        hypervisors.here.start(xml)


def test_a_destroyed_domain_has_ended_by_that(hypervisors: HypervisorWorld, idle: Machine) -> None:
    hypervisors.here.destroy(idle.uuid)
    domain = hypervisors.here.domains()[idle.uuid]
    assert (domain.run, domain.reason, domain.name) == (DomainRun.SHUTOFF, "destroyed", idle.name)
    hypervisors.here.destroy(idle.uuid)


def test_a_domain_whose_process_was_killed_has_crashed(hypervisors: HypervisorWorld, idle: Machine) -> None:
    hypervisors.kill(idle)
    assert ended(hypervisors.here, idle).reason == "crashed"


def test_a_guest_that_powers_itself_off_has_shut_down(hypervisors: HypervisorWorld) -> None:
    machine = hypervisors.machine(Guest.QUITTER)
    hypervisors.here.start(machine.xml)
    hypervisors.run(machine)
    assert ended(hypervisors.here, machine).reason == "shutdown"


def test_a_new_start_forgets_how_the_domain_ended(hypervisors: HypervisorWorld, idle: Machine) -> None:
    hypervisors.kill(idle)
    ended(hypervisors.here, idle)
    hypervisors.here.start(idle.xml)
    domain = hypervisors.here.domains()[idle.uuid]
    assert (domain.run, domain.reason) == (DomainRun.RUNNING, "")


def test_an_operating_system_heeds_the_power_button_and_lets_go_of_devices(hypervisors: HypervisorWorld) -> None:
    machine = hypervisors.machine(Guest.LINUX)
    hypervisors.here.start(machine.xml)
    hypervisors.run(machine)
    disk = disk_xml("vdb", hypervisors.disk())
    hypervisors.here.attach(machine.uuid, disk)
    hypervisors.here.detach(machine.uuid, disk, 30)
    assert set(hypervisors.here.statistics()[machine.uuid].disks) == {"vda"}
    hypervisors.here.shutdown(machine.uuid)
    assert ended(hypervisors.here, machine).reason == "shutdown"


def test_the_power_button_does_not_cut_the_power(hypervisors: HypervisorWorld, idle: Machine) -> None:
    hypervisors.here.shutdown(idle.uuid)
    assert run_of(hypervisors.here, idle) is DomainRun.RUNNING


def test_a_device_is_attached_once(hypervisors: HypervisorWorld, idle: Machine) -> None:
    disk = disk_xml("vdb", hypervisors.disk())
    card = "<interface type='ethernet'><mac address='52:54:00:AA:BB:CC'/><model type='virtio'/></interface>"
    for device in (disk, card):
        hypervisors.here.attach(idle.uuid, device)
        with pytest.raises(Conflict):
            hypervisors.here.attach(idle.uuid, device)
    stats = hypervisors.here.statistics()[idle.uuid]
    assert set(stats.disks) == {"vda", "vdb"}
    assert set(stats.networks) == {idle.mac, "52:54:00:aa:bb:cc"}


def test_a_device_that_the_guest_holds_on_to_stays(hypervisors: HypervisorWorld, idle: Machine) -> None:
    disk = disk_xml("vdb", hypervisors.disk())
    hypervisors.here.attach(idle.uuid, disk)
    with pytest.raises(Failed):
        hypervisors.here.detach(idle.uuid, disk, 1)
    assert "vdb" in hypervisors.here.statistics()[idle.uuid].disks


def test_what_does_not_exist_is_not_found(hypervisors: HypervisorWorld, idle: Machine) -> None:
    disk = disk_xml("vdz", hypervisors.disk())
    for call in (
        lambda: hypervisors.here.shutdown(MISSING),
        lambda: hypervisors.here.attach(MISSING, disk),
        lambda: hypervisors.here.detach(MISSING, disk, 1),
        lambda: hypervisors.here.detach(idle.uuid, disk, 1),
        lambda: hypervisors.here.freeze(MISSING),
        lambda: hypervisors.here.pause(MISSING),
        lambda: hypervisors.here.migrate(MISSING, hypervisors.target, 300, ignore, never),
    ):
        with pytest.raises(NotFound):
            call()
    hypervisors.here.destroy(MISSING)


def test_a_paused_machine_stands_still_until_it_is_released(hypervisors: HypervisorWorld, idle: Machine) -> None:
    before = hypervisors.here.domains()[idle.uuid]
    for _ in range(2):
        hypervisors.here.pause(idle.uuid)
        assert run_of(hypervisors.here, idle) is DomainRun.PAUSED
    for _ in range(2):
        hypervisors.here.release(idle.uuid)
        assert hypervisors.here.domains()[idle.uuid] == before


def test_a_guest_without_agent_cannot_be_frozen(hypervisors: HypervisorWorld, idle: Machine) -> None:
    assert not hypervisors.here.freeze(idle.uuid)
    hypervisors.here.release(idle.uuid)
    assert run_of(hypervisors.here, idle) is DomainRun.RUNNING


def test_an_agent_freezes_the_guest_until_it_is_released(hypervisors: HypervisorWorld) -> None:
    machine = hypervisors.machine(Guest.LINUX)
    hypervisors.here.start(machine.xml)
    hypervisors.run(machine)
    for _ in range(2):
        assert hypervisors.here.freeze(machine.uuid)
        hypervisors.here.pause(machine.uuid)
        assert hypervisors.frozen(machine)
        hypervisors.here.release(machine.uuid)
        assert run_of(hypervisors.here, machine) is DomainRun.RUNNING
        assert not hypervisors.frozen(machine)


def test_nothing_is_released_that_is_not_there(hypervisors: HypervisorWorld) -> None:
    hypervisors.here.release(MISSING)


def test_statistics_are_of_the_domains_that_run(hypervisors: HypervisorWorld, idle: Machine) -> None:
    gone = hypervisors.machine()
    hypervisors.here.start(gone.xml)
    hypervisors.here.destroy(gone.uuid)
    statistics = hypervisors.here.statistics()
    assert set(statistics) == {idle.uuid}
    stats = statistics[idle.uuid]
    assert stats.memory["actual"] > 0
    assert set(stats.disks) == {"vda"}
    assert set(stats.networks) == {idle.mac}


def test_a_change_is_told(hypervisors: HypervisorWorld) -> None:
    told = threading.Event()
    hypervisors.here.domains()
    hypervisors.here.on_change(told.set)
    machine = hypervisors.machine()
    hypervisors.here.start(machine.xml)
    assert told.wait(5)
    told.clear()
    hypervisors.kill(machine)
    assert told.wait(5)


def test_a_migration_moves_the_running_domain(hypervisors: HypervisorWorld, idle: Machine) -> None:
    hypervisors.there.domains()
    seen: list[MigrationProgress] = []
    hypervisors.here.migrate(idle.uuid, hypervisors.target, 300, seen.append, never)
    assert run_of(hypervisors.there, idle) is DomainRun.RUNNING
    left = hypervisors.here.domains()[idle.uuid]
    assert (left.run, left.reason) == (DomainRun.SHUTOFF, "migrated")
    assert all(0 <= progress.done <= progress.total for progress in seen)
    assert set(hypervisors.there.statistics()[idle.uuid].networks) == {idle.mac}


def test_a_cancelled_migration_leaves_the_domain_where_it_was(hypervisors: HypervisorWorld, idle: Machine) -> None:
    with pytest.raises(Cancelled):
        hypervisors.here.migrate(idle.uuid, hypervisors.target, 300, ignore, lambda: True)
    assert run_of(hypervisors.here, idle) is DomainRun.RUNNING
    assert run_of(hypervisors.there, idle) is not DomainRun.RUNNING


def test_a_migration_to_nowhere_leaves_the_domain_where_it_was(hypervisors: HypervisorWorld, idle: Machine) -> None:
    with pytest.raises(DriverError):
        hypervisors.here.migrate(idle.uuid, "127.0.0.3", 300, ignore, never)
    assert run_of(hypervisors.here, idle) is DomainRun.RUNNING


def test_while_libvirt_is_away_every_call_says_so_and_the_machines_run_on(
    hypervisors: HypervisorWorld, idle: Machine
) -> None:
    before = hypervisors.here.domains()[idle.uuid]
    hypervisors.interrupt()
    for call in (
        hypervisors.here.domains,
        hypervisors.here.statistics,
        lambda: hypervisors.here.destroy(idle.uuid),
        lambda: hypervisors.here.shutdown(idle.uuid),
        lambda: hypervisors.here.freeze(idle.uuid),
        lambda: hypervisors.here.pause(idle.uuid),
        lambda: hypervisors.here.release(idle.uuid),
    ):
        with pytest.raises(DriverUnavailable):
            call()
    hypervisors.resume()
    assert hypervisors.here.domains()[idle.uuid] == before
    hypervisors.kill(idle)
    eventually(lambda: run_of(hypervisors.here, idle) is not DomainRun.RUNNING)
    # libvirt tells nobody of a domain that ends while it is finding its domains again; then the reason is not known.
    domain = hypervisors.here.domains().get(idle.uuid)
    assert domain is None or domain.reason == "crashed"
