"""Hypervisors in memory. ``FakeRack`` is the set of nodes that can migrate machines to each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from pvc_core.errors import Cancelled, Conflict, DriverError, DriverUnavailable, Failed, NotFound
from pvc_core.model.domain import device_spec, document
from pvc_core.model.domain_edit import add_device, remove_device
from pvc_core.model.node import DiskStats, DomainStats, NicStats
from pvc_core.ports import Domain, DomainRun, MigrationProgress

MEMORY = 1024 * 1024  # bytes that a migration copies
PAUSED_HERE = "user"  # the reason that libvirt gives for a pause that was asked for


class FakeRack:
    """The hypervisors by the address under which they receive migrations."""

    def __init__(self) -> None:
        self.hosts: dict[str, FakeHypervisor] = {}

    def host(self, address: str) -> FakeHypervisor:
        """The hypervisor at this address, made when it is first asked for."""
        return self.hosts.setdefault(address, FakeHypervisor(self, address))

    def running(self, uuid: str) -> list[str]:
        """Addresses of the hosts on which a domain runs; more than one is two writers."""
        return [
            address
            for address, host in self.hosts.items()
            if (guest := host.guests.get(uuid)) is not None and guest.domain.run is DomainRun.RUNNING
        ]


@dataclass
class FakeGuest:
    """A domain and what a test may look at."""

    domain: Domain
    xml: str  # with the devices that were plugged in


class FakeHypervisor:
    """One node. Test hooks are public: the attributes below, ``crash``, ``power_off``, ``stall``, ``lose_power``."""

    def __init__(self, rack: FakeRack | None = None, address: str = "127.0.0.1") -> None:
        self._rack = rack or FakeRack()
        self._rack.hosts[address] = self
        self._lock = threading.RLock()
        self.guests: dict[str, FakeGuest] = {}  # those that run or are paused
        self.ended: dict[str, Domain] = {}  # those that ended since this hypervisor was started
        self.unavailable = False  # every call raises DriverUnavailable
        self.start_error = ""  # why the next starts fail
        self.migrate_error = ""  # why the next migrations fail
        self.migration_steps = 4  # looks at ``cancelled`` during one migration
        self.deaf: set[str] = set()  # guests that ignore the power button
        self.clinging: set[str] = set()  # guests that do not let go of devices
        self.agents: set[str] = set()  # guests with an agent
        self.frozen: set[str] = set()  # guests whose file systems are frozen
        self.started: list[str] = []  # uuid of every start, in order
        self._listeners: list[Callable[[], None]] = []

    def domains(self) -> dict[str, Domain]:
        with self._lock:
            self._answer()
            return self.ended | {uuid: guest.domain for uuid, guest in self.guests.items()}

    def start(self, xml: str) -> Domain:
        with self._lock:
            self._answer()
            root = document(xml, "domain")
            uuid = root.findtext("uuid") or ""
            if uuid in self.guests:
                raise Conflict(f"domain {uuid} runs already")
            if self.start_error:
                raise DriverError(self.start_error)
            domain = Domain(uuid, root.findtext("name") or "", DomainRun.RUNNING)
            if root.find("devices/graphics[@type='vnc']") is not None:
                domain = replace(domain, vnc_listen="127.0.0.1", vnc_port=5900 + len(self.guests))
            self.guests[uuid] = FakeGuest(domain, xml)
            self.ended.pop(uuid, None)
            self.started.append(uuid)
            self._changed()
            return domain

    def shutdown(self, uuid: str) -> None:
        with self._lock:
            self._answer()
            self._guest(uuid)
            if uuid not in self.deaf:
                self._end(uuid, "shutdown")

    def destroy(self, uuid: str) -> None:
        with self._lock:
            self._answer()
            if uuid in self.guests:
                self._end(uuid, "destroyed")

    def attach(self, uuid: str, device_xml: str) -> None:
        with self._lock:
            self._answer()
            guest = self._guest(uuid)
            guest.xml = add_device(guest.xml, device_xml)

    def detach(self, uuid: str, device_xml: str, timeout: float) -> None:
        with self._lock:
            self._answer()
            guest = self._guest(uuid)
            without = remove_device(guest.xml, device_xml)
            if uuid in self.clinging:
                raise Failed(f"the guest did not let go of the device within {timeout:g} s")
            guest.xml = without

    def migrate(
        self,
        uuid: str,
        target: str,
        max_downtime: int,
        progress: Callable[[MigrationProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._answer()
        guest = self._guest(uuid)
        host = self._rack.hosts.get(target)
        if host is None or host.unavailable:
            raise DriverError(f"no hypervisor answers at {target}")
        for step in range(self.migration_steps):
            progress(MigrationProgress(MEMORY * step // self.migration_steps, MEMORY))
            if cancelled():
                raise Cancelled(f"the migration of {uuid} was cancelled")
        if self.migrate_error:
            raise DriverError(self.migrate_error)
        with self._lock:
            self._guest(uuid)
            self._end(uuid, "migrated")
        with host._lock:
            host.guests[uuid] = guest
            host.ended.pop(uuid, None)
        host._changed()
        progress(MigrationProgress(MEMORY, MEMORY))

    def freeze(self, uuid: str) -> bool:
        with self._lock:
            self._answer()
            if self._guest(uuid).domain.run is DomainRun.RUNNING and uuid in self.agents:
                self.frozen.add(uuid)
            return uuid in self.frozen

    def pause(self, uuid: str) -> None:
        with self._lock:
            self._answer()
            if self._guest(uuid).domain.run is DomainRun.RUNNING:
                self._set_run(uuid, DomainRun.PAUSED, PAUSED_HERE)

    def release(self, uuid: str) -> None:
        with self._lock:
            self._answer()
            guest = self.guests.get(uuid)
            if guest is not None and guest.domain.reason == PAUSED_HERE:
                self._set_run(uuid, DomainRun.RUNNING, "")
            self.frozen.discard(uuid)

    def statistics(self) -> dict[str, DomainStats]:
        with self._lock:
            self._answer()
            return {uuid: _statistics(guest) for uuid, guest in self.guests.items()}

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def close(self) -> None:
        """Nothing to give back."""

    def crash(self, uuid: str) -> None:
        """Its QEMU process dies."""
        with self._lock:
            self._guest(uuid)
            self._end(uuid, "crashed")

    def power_off(self, uuid: str) -> None:
        """The guest powers itself off."""
        with self._lock:
            self._guest(uuid)
            self._end(uuid, "shutdown")

    def stall(self, uuid: str, reason: str = "ioerror") -> None:
        """Its QEMU stops the CPUs on its own, or another one's."""
        with self._lock:
            self._guest(uuid)
            self._set_run(uuid, DomainRun.PAUSED, reason)

    def lose_power(self) -> None:
        """The whole node dies: no domain is left, and nobody knows why it ended."""
        with self._lock:
            self.guests.clear()
            self.ended.clear()

    def _end(self, uuid: str, reason: str) -> None:
        guest = self.guests.pop(uuid)
        self.frozen.discard(uuid)
        self.ended[uuid] = Domain(uuid, guest.domain.name, DomainRun.SHUTOFF, reason)
        self._changed()

    def _set_run(self, uuid: str, run: DomainRun, reason: str) -> None:
        guest = self.guests[uuid]
        guest.domain = replace(guest.domain, run=run, reason=reason)
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def _guest(self, uuid: str) -> FakeGuest:
        if uuid not in self.guests:
            raise NotFound(f"there is no domain {uuid} on this node")
        return self.guests[uuid]

    def _answer(self) -> None:
        if self.unavailable:
            raise DriverUnavailable("libvirt does not answer")


def _statistics(guest: FakeGuest) -> DomainStats:
    devices = [device_spec(element) for element in document(guest.xml, "domain").iterfind("devices/*")]
    return DomainStats(
        memory={"actual": MEMORY // 1024},
        disks={device.disk.dev: DiskStats() for device in devices if device.disk},
        networks={device.nic.mac: NicStats() for device in devices if device.nic},
    )
