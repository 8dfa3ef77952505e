"""The hypervisor of this node, through libvirt.

Domains are transient: what is not running leaves nothing with libvirt, and the cluster's record is the only one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import libvirt
from lxml import etree

from pvc_core.config import Config
from pvc_core.drivers import accelerator, libvirt_agent, libvirt_migration, libvirt_statistics
from pvc_core.drivers.accelerator import DomainType
from pvc_core.drivers.domain_adapter import Storage, adapt_device, adapt_domain
from pvc_core.drivers.libvirt_connection import LibvirtConnection, translated
from pvc_core.errors import Conflict, DriverError, Failed, NotFound
from pvc_core.model.domain_edit import find_device
from pvc_core.model.node import DomainStats
from pvc_core.ports import Domain, DomainRun, MigrationProgress

log = logging.getLogger(__name__)

RUNS = {
    libvirt.VIR_DOMAIN_RUNNING: DomainRun.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainRun.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainRun.RUNNING,  # the guest is powering off
    libvirt.VIR_DOMAIN_PAUSED: DomainRun.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainRun.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: DomainRun.PAUSED,  # kept for a look at it, as its XML asks for
}
PAUSE_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "user",
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: "migration",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "ioerror",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutdown",
}
UNPLUG_INTERVAL = 5.0  # seconds after which a guest that has not let go of a device is asked again


@dataclass(frozen=True)
class _Details:
    """What only the live XML tells of a domain. Good for as long as its links are the same."""

    links: dict[str, str]  # name of the link on the host -> MAC address
    vnc_listen: str
    vnc_port: int


class LibvirtHypervisor:
    """Connects at the first call, and again when libvirtd was restarted, which the machines do not notice."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._libvirt = LibvirtConnection(config.libvirt.uri)
        ceph = config.ceph
        self._storage = Storage(ceph.config_file, ceph.user, ceph.libvirt_secret_uuid)
        self._type_lock = threading.Lock()
        self._type: DomainType | None = None
        self._details: dict[tuple[str, int], _Details] = {}  # by uuid and libvirt's id of this run of the domain
        self._seen: tuple[libvirt.virConnect | None, set[str]] = (None, set())

    def domains(self) -> dict[str, Domain]:
        connection = self._libvirt.get()
        hearing = self._libvirt.hearing
        with translated("the list of domains"):
            rows = connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            )
        present: dict[str, Domain] = {}
        for handle, table in rows:
            with suppress(NotFound):  # it ended since it was listed
                domain = self._domain(handle, table["state.state"], table["state.reason"])
                present[domain.uuid] = domain
        heard_by, before = self._seen
        self._seen = (hearing, set(present))
        self._forget_details({(handle.UUIDString(), handle.ID()) for handle, _ in rows})
        # The news of why a domain ended may come after the list from which it is missing.
        missing = before - present.keys() if heard_by is hearing else set()
        return self._libvirt.ended(missing) | present

    def start(self, xml: str) -> Domain:
        directory = Path(self._config.daemon.console_directory)
        directory.mkdir(parents=True, exist_ok=True)
        adapted = adapt_domain(xml, self._domain_type(), self._storage, directory)
        uuid = etree.fromstring(adapted).findtext("uuid") or ""
        self._libvirt.forget(uuid)
        connection = self._libvirt.get()
        try:
            handle = connection.createXML(adapted, 0)
        except libvirt.libvirtError as error:
            with suppress(NotFound):
                self._lookup(uuid)
                raise Conflict(f"domain {uuid} runs already") from None
            with translated(f"start of {uuid}"):
                raise error
        with translated(f"start of {uuid}"):
            return self._domain(handle, *handle.state())

    def shutdown(self, uuid: str) -> None:
        with translated(f"shutdown of {uuid}"):
            self._lookup(uuid).shutdown()

    def destroy(self, uuid: str) -> None:
        with suppress(NotFound), translated(f"destruction of {uuid}"):
            self._lookup(uuid).destroy()
            self._libvirt.ended({uuid})  # so that the next look knows why it ended: the news comes after the answer

    def attach(self, uuid: str, device_xml: str) -> None:
        handle = self._lookup(uuid)
        with translated(f"device of {uuid}"):
            live = handle.XMLDesc()
        with suppress(NotFound):
            find_device(live, device_xml)
            raise Conflict(f"domain {uuid} has this device already")
        with translated(f"device of {uuid}"):
            handle.attachDeviceFlags(adapt_device(device_xml, self._storage), libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def detach(self, uuid: str, device_xml: str, timeout: float) -> None:
        handle = self._lookup(uuid)
        with translated(f"device of {uuid}"):
            live = find_device(handle.XMLDesc(), device_xml)
        alias = etree.fromstring(live).find("alias").get("name")
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._ask_to_unplug(handle, alias)
            if self._libvirt.wait_removed(lambda: not _has(handle, live), min(UNPLUG_INTERVAL, left)):
                return
        raise Failed(f"the guest did not let go of the device within {timeout:g} s")

    def migrate(
        self,
        uuid: str,
        target: str,
        max_downtime: int,
        progress: Callable[[MigrationProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        libvirt_migration.migrate(lambda: self._lookup(uuid), target, max_downtime, progress, cancelled)

    def freeze(self, uuid: str) -> bool:
        handle = self._lookup(uuid)
        with translated(f"domain {uuid}"):
            return libvirt_agent.freeze(handle)

    def pause(self, uuid: str) -> None:
        """QEMU finishes and flushes what its disks have under way before it answers."""
        handle = self._lookup(uuid)
        with translated(f"pause of {uuid}"):
            handle.suspend()

    def release(self, uuid: str) -> None:
        with suppress(NotFound), translated(f"release of {uuid}"):
            handle = self._lookup(uuid)
            if tuple(handle.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER):
                handle.resume()
            libvirt_agent.thaw(handle)

    def statistics(self) -> dict[str, DomainStats]:
        connection = self._libvirt.get()
        with translated("statistics"):
            # Without waiting: a domain that is busy, such as one whose storage hangs, shows what can be had at once.
            rows = connection.getAllDomainStats(
                libvirt_statistics.WANTED,
                libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
            )
        found = {}
        for handle, table in rows:
            with suppress(NotFound):
                details = self._live(handle, libvirt_statistics.link_names(table))
                found[handle.UUIDString()] = libvirt_statistics.domain_stats(table, details.links)
        return found

    def on_change(self, listener: Callable[[], None]) -> None:
        self._libvirt.on_change(listener)

    def close(self) -> None:
        self._libvirt.close()

    def _domain_type(self) -> DomainType:
        with self._type_lock:
            if self._type is None:
                settings = self._config.libvirt
                boot_id = Path(self._config.node.boot_id_file).read_text().strip()
                cache = Path(self._config.daemon.state_directory) / "accelerator.json"
                self._type = accelerator.decide(settings.domain_type, settings.probe_kernel, boot_id, cache)
            return self._type

    def _lookup(self, uuid: str) -> libvirt.virDomain:
        connection = self._libvirt.get()
        with translated(f"domain {uuid}"):
            return connection.lookupByUUIDString(uuid)

    def _domain(self, handle: libvirt.virDomain, state: int, reason: int) -> Domain:
        details = self._live(handle)
        paused = state == libvirt.VIR_DOMAIN_PAUSED
        return Domain(
            uuid=handle.UUIDString(),
            name=handle.name(),
            run=RUNS.get(state, DomainRun.SHUTOFF),
            reason=PAUSE_REASONS.get(reason, "unknown") if paused else "",
            vnc_listen=details.vnc_listen,
            vnc_port=details.vnc_port,
        )

    def _live(self, handle: libvirt.virDomain, links: list[str] | None = None) -> _Details:
        """Details of a running domain, read again when it has other ``links`` than those that are known."""
        key = (handle.UUIDString(), handle.ID())
        details = self._details.get(key)
        if details is None or (links is not None and not details.links.keys() >= set(links)):
            with translated(f"domain {key[0]}"):
                details = self._details[key] = _details(handle.XMLDesc())
        return details

    def _forget_details(self, present: set[tuple[str, int]]) -> None:
        for key in self._details.keys() - present:
            self._details.pop(key, None)

    def _ask_to_unplug(self, handle: libvirt.virDomain, alias: str) -> None:
        try:
            with translated(f"device of {handle.name()}"):
                handle.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except NotFound:
            return  # the guest let go of it in the meantime
        except DriverError as error:
            # QEMU refuses to ask again for some seconds after it has asked the guest; the guest has still heard it.
            if "unplug" not in str(error):
                raise


def _has(handle: libvirt.virDomain, device_xml: str) -> bool:
    with translated(f"device of {handle.name()}"):
        live = handle.XMLDesc()
    try:
        find_device(live, device_xml)
    except NotFound:
        return False
    return True


def _details(xml: str) -> _Details:
    devices = etree.fromstring(xml).find("devices")
    cards = [(card.find("target"), card.find("mac")) for card in devices.iterfind("interface")]
    graphics = devices.find("graphics[@type='vnc']")
    return _Details(
        links={
            target.get("dev"): mac.get("address").lower()
            for target, mac in cards
            if target is not None and mac is not None
        },
        vnc_listen="" if graphics is None else graphics.get("listen", ""),
        vnc_port=0 if graphics is None else max(0, int(graphics.get("port", "0"))),
    )
