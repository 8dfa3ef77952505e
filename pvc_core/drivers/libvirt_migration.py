"""Live migration from this node's libvirt to another's: started, watched and, when asked for, aborted."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import libvirt

from pvc_core.drivers.libvirt_connection import translated
from pvc_core.errors import Cancelled, DriverError, DriverUnavailable, NotFound
from pvc_core.ports import MigrationProgress

log = logging.getLogger(__name__)

LIBVIRT_PORT = 16509  # of libvirtd's plain TCP socket
REACH_TIMEOUT = 5.0  # seconds for the target's libvirt to accept a connection
ABORT_TIMEOUT = 10.0  # seconds for a migration to end that is aborted
POLL = 0.25  # seconds between two looks at progress and cancellation
FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE  # slows a guest that writes faster than the network carries
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)


def migrate(
    lookup: Callable[[], libvirt.virDomain],
    target: str,
    max_downtime: int,
    progress: Callable[[MigrationProgress], None],
    cancelled: Callable[[], bool],
) -> None:
    """As the port says. ``lookup`` finds the domain on the connection of the calling thread: the call to libvirt blocks
    to the end, so it has a thread of its own."""
    domain = lookup()
    if cancelled():
        raise Cancelled(f"the migration of {domain.name()} was cancelled before it began")
    uri = f"qemu+tcp://{target}/system"
    _require_reachable(uri, target)
    _end_earlier(domain)
    ended = threading.Event()
    failure: list[Exception] = []

    def move() -> None:
        try:
            lookup().migrateToURI3(uri, {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{target}"}, FLAGS)
        except (libvirt.libvirtError, DriverError, NotFound) as error:
            failure.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=move, name=f"migrate-{domain.name()}", daemon=True)
    thread.start()
    aborted = _watch(domain, ended, max_downtime, progress, cancelled)
    thread.join()
    if not failure:
        return
    if aborted:
        raise Cancelled(f"the migration of {domain.name()} was cancelled")
    with translated(f"migration of {domain.name()} to {target}"):
        raise failure[0]


def _watch(
    domain: libvirt.virDomain,
    ended: threading.Event,
    max_downtime: int,
    progress: Callable[[MigrationProgress], None],
    cancelled: Callable[[], bool],
) -> bool:
    """Report progress until the migration has ended; whether it was aborted here."""
    aborted = limited = False
    while not ended.wait(POLL):
        if not aborted and cancelled():
            with suppress(libvirt.libvirtError):  # it has not begun to copy yet, or is over: the next look tells
                domain.abortJob()
                aborted = True
        job = _job(domain)
        if not job:
            continue
        if not limited:
            with suppress(libvirt.libvirtError):
                domain.migrateSetMaxDowntime(max_downtime)
                limited = True
        if total := job.get("memory_total", 0):
            progress(MigrationProgress(total - job.get("memory_remaining", 0), total))
    return aborted


def _end_earlier(domain: libvirt.virDomain) -> None:
    """Abort the migration that a process left to libvirtd when it was killed."""
    deadline = time.monotonic() + ABORT_TIMEOUT
    pause = threading.Event()
    while _job(domain) and time.monotonic() < deadline:
        log.warning("domain %s is still being migrated for an earlier call, which is aborted", domain.name())
        with suppress(libvirt.libvirtError):  # it is over by now: the next look tells
            domain.abortJob()
        pause.wait(POLL)


def _job(domain: libvirt.virDomain) -> dict[str, int]:
    """Statistics of the migration; empty while there is none."""
    try:
        statistics = domain.jobStats()
    except libvirt.libvirtError:
        return {}
    under_way = (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
    return statistics if statistics.get("type") in under_way else {}


def _require_reachable(uri: str, target: str) -> None:
    """A node that is off would hold the migration for minutes before it can be aborted."""
    port = urlsplit(uri).port or LIBVIRT_PORT
    try:
        socket.create_connection((target, port), REACH_TIMEOUT).close()
    except OSError as error:
        raise DriverUnavailable(f"libvirt of the target does not answer at {target}:{port}: {error}") from None
