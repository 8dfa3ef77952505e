"""libvirt and QEMU of one host: the fake with time passing in each call, and with processes that write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenlet import GreenletExit

from pvc_core.errors import Cancelled, DriverError, PvcError
from pvc_core.fakes.hypervisor import FakeGuest, FakeHypervisor, FakeRack
from pvc_core.model.domain import DomainSpec, parse
from pvc_core.model.node import Addresses
from pvc_core.ports import Domain, DomainRun, MigrationProgress

if TYPE_CHECKING:
    from tests.simulation.host import Host


@dataclass(eq=False)
class Qemu:
    """A machine's process, which writes whenever it can."""

    uuid: str
    host: Host
    client: str
    volumes: tuple[str, ...]
    only_rbd: bool
    suspended: bool = False  # its CPUs do not run: it is being received, or was sent
    broken: bool = False  # it was shut out, and its guest got errors

    @property
    def shut_out(self) -> bool:
        """Whether nothing that it writes can arrive, now or when its host goes on."""
        ceph = self.host.world.ceph
        return self.only_rbd and (self.client in ceph.clients_out or ceph.is_out(self.host))

    @property
    def writes(self) -> bool:
        """Whether what it writes at this moment arrives."""
        if self.suspended or self.host.paused:
            return False
        return (self.host.links.storage or not self.only_rbd) and not self.shut_out


class SimHypervisor(FakeHypervisor):
    """The libvirt and the QEMU processes of a host. What libvirt was asked to do it may do though the caller died."""

    def __init__(self, rack: FakeRack, host: Host) -> None:
        super().__init__(rack, Addresses.host(host.addresses.cluster))
        self.host = host
        self.slow = False
        self.qemus: dict[str, Qemu] = {}

    def domains(self) -> dict[str, Domain]:
        self._pass("domains", 0.005, 0.5, at_once=0.8)
        return super().domains()

    def start(self, xml: str) -> Domain:
        world = self.host.world
        try:
            self._pass("start", 0.05, 1.5)
        except GreenletExit:
            if world.loop.random.random() < 0.5:
                world.loop.at(world.loop.random.random(), lambda: self._begin_orphan(xml), self.host.system)
            raise
        domain = self._begin(xml)
        self._pass("started", 0.01, 0.3, at_once=0.5)
        return domain

    def _begin_orphan(self, xml: str) -> None:
        try:
            self._begin(xml)
        except PvcError as error:
            self.host.world.note(f"{self.host.name}: a start whose caller died failed: {error}")

    def _begin(self, xml: str) -> Domain:
        spec = parse(xml)
        ceph = self.host.world.ceph
        if spec.volumes and (ceph.is_out(self.host) or not ceph.answers(self.host)):
            raise DriverError("the disks cannot be opened: Ceph does not let this host in")
        domain = super().start(xml)
        ceph.lock(self._open(spec))
        self.host.world.note(f"{self.host.name}: QEMU of {spec.name} begins to write")
        return domain

    def shutdown(self, uuid: str) -> None:
        self._pass("shutdown", 0.01, 0.2, at_once=0.5)
        super().shutdown(uuid)

    def destroy(self, uuid: str) -> None:
        self._pass("destroy", 0.01, 0.5, at_once=0.5)
        if uuid in self.guests:
            self.host.world.rules.destroyed(self.host)
        super().destroy(uuid)

    def migrate(
        self,
        uuid: str,
        target: str,
        max_downtime: int,
        progress: Callable[[MigrationProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """libvirt goes on though the caller died, more often than not."""
        self._pass("migrate", 0.05, 1.0)
        other = self._rack.hosts.get(target)
        migration = Outgoing(self, other, self._guest(uuid))  # type: ignore[arg-type]
        try:
            for done in range(4):
                progress(MigrationProgress(done, 4))
                if cancelled():
                    raise Cancelled(f"the migration of {uuid} was cancelled")
                self._pass("migrating", 0.1, 2.0)
                migration.go_on()
            migration.hand_over()
            self._pass("migrated", 0.01, 0.5)
            migration.finish()
        except GreenletExit:
            world = self.host.world
            end = migration.complete if world.loop.random.random() < 0.7 else migration.abort
            world.loop.at(world.loop.random.uniform(0.0, 3.0), end, self.host.system)
            raise
        except (Cancelled, DriverError):
            migration.abort()
            raise

    def freeze(self, uuid: str) -> bool:
        self._pass("freeze", 0.01, 0.5, at_once=0.5)
        return super().freeze(uuid)

    def pause(self, uuid: str) -> None:
        self._pass("pause", 0.01, 0.5, at_once=0.5)
        super().pause(uuid)
        self._pass("paused", 0.01, 0.2, at_once=0.5)

    def release(self, uuid: str) -> None:
        self._pass("release", 0.01, 0.5, at_once=0.5)
        super().release(uuid)

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners = [listener]  # of the one daemon that lives

    def receive(self, guest: FakeGuest) -> Qemu:
        """A process for a domain that is on its way."""
        spec = parse(guest.xml)
        domain = replace(guest.domain, run=DomainRun.PAUSED, reason="migration")
        self.guests[spec.uuid] = FakeGuest(domain, guest.xml)
        self.ended.pop(spec.uuid, None)
        qemu = self._open(spec)
        qemu.suspended = True
        self._changed()
        return qemu

    def suspend(self, uuid: str) -> None:
        """It was sent."""
        self._set_run(uuid, DomainRun.PAUSED, "migration")
        self.host.world.ceph.unlock(self.qemus[uuid])

    def go_live(self, uuid: str) -> None:
        """It was received."""
        self.host.world.note(f"{self.host.name}: QEMU of {self.guests[uuid].domain.name} goes on to write")
        self._set_run(uuid, DomainRun.RUNNING, "")
        self.host.world.ceph.lock(self.qemus[uuid])

    def end(self, uuid: str, reason: str) -> None:
        self._end(uuid, reason)

    def _set_run(self, uuid: str, run: DomainRun, reason: str) -> None:
        self.qemus[uuid].suspended = run is DomainRun.PAUSED
        super()._set_run(uuid, run, reason)

    def _open(self, spec: DomainSpec) -> Qemu:
        qemu = self.host.world.ceph.open(spec.uuid, self.host, spec.volumes, len(spec.volumes) == len(spec.disks))
        self.qemus[spec.uuid] = qemu
        self.host.world.rules.count_writers(spec.uuid)
        return qemu

    def lose_power(self) -> None:
        super().lose_power()
        lost, self.qemus = self.qemus, {}
        for uuid in lost:
            self.host.world.rules.count_writers(uuid)

    def _end(self, uuid: str, reason: str) -> None:
        qemu = self.qemus.pop(uuid, None)
        if qemu is not None:
            if reason != "crashed":
                self.host.world.ceph.unlock(qemu)
            self.host.world.rules.count_writers(uuid)
            self.host.world.note(f"{self.host.name}: QEMU of {self.guests[uuid].domain.name} ends ({reason})")
        super()._end(uuid, reason)

    def _pass(self, what: str, least: float, most: float, at_once: float = 0.0) -> None:
        if self.slow:
            least, most, at_once = 2.0, 10.0, at_once / 2
        self.host.world.loop.call(f"libvirt.{what}", least, most, at_once)


class Outgoing:
    """One live migration. The receiving libvirt gives up when it hears nothing from the other for too long."""

    def __init__(self, source: SimHypervisor, target: SimHypervisor | None, guest: FakeGuest) -> None:
        if target is None or not source.host.reaches(target.host):
            raise DriverError("no hypervisor answers there")
        if guest.domain.uuid in target.guests:
            raise DriverError("it runs there already")
        self._source, self._target, self._guest = source, target, guest
        self._uuid = guest.domain.uuid
        self._qemu = target.receive(guest)
        self._handed_over = self._over = False
        self._world = source.host.world
        self._world.loop.at(self._patience(), self._watch, target.host.system)

    def go_on(self) -> None:
        """Raises DriverError when it cannot."""
        if self._over or not self._source.host.reaches(self._target.host):
            raise DriverError("the connection with the other hypervisor broke")
        if self._source.guests.get(self._uuid) is not self._guest:
            raise DriverError("the domain ended while it was migrated")

    def hand_over(self) -> None:
        """The CPUs here stop, then those there start. Raises DriverError when that cannot be."""
        self.go_on()
        self._handed_over = True
        self._source.suspend(self._uuid)
        self._target.go_live(self._uuid)

    def finish(self) -> None:
        self._over = True
        if self._source.guests.get(self._uuid) is self._guest:
            self._source.end(self._uuid, "migrated")

    def complete(self) -> None:
        """What libvirt does when nobody waits for it."""
        with suppress(DriverError):
            if not self._handed_over:
                self.hand_over()
            self.finish()
            return
        self.abort()

    def abort(self) -> None:
        if not (self._handed_over or self._over):
            self._over = True
            if self._target.qemus.get(self._uuid) is self._qemu:
                self._target.end(self._uuid, "failed")

    def _watch(self) -> None:
        """At the target."""
        if self._handed_over or self._over:
            return
        if self._source.host.reaches(self._target.host) and self._source.guests.get(self._uuid) is self._guest:
            self._world.loop.at(self._patience(), self._watch, self._target.host.system)
        else:
            self.abort()

    def _patience(self) -> float:
        return self._world.loop.random.uniform(5.0, 25.0)
