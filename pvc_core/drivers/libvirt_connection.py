"""The connection to the node's libvirt, opened when it is needed and again after it broke, and the events it brings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import libvirt

from pvc_core.errors import DriverError, DriverUnavailable, NotFound
from pvc_core.model.vm import Domain, DomainRun

log = logging.getLogger(__name__)

KEEPALIVE_INTERVAL = 5  # seconds between two signs of life, and how many may be missing
KEEPALIVE_COUNT = 3
CLOSE_TIMEOUT = 1.0  # seconds
EVENT_DELAY = 2.0  # seconds by which an event may come after the answer that shows its effect

# Why a domain ended. When QEMU is killed from outside libvirt says "failed", which is a crash like any other.
STOP_REASONS = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: "destroyed",
}
_TRANSIENT = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,  # another job holds the domain
    libvirt.VIR_ERR_RPC,
}
_TRANSPORT = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise libvirt's errors as NotFound (no such domain or device), DriverUnavailable or DriverError."""
    try:
        yield
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_DEVICE_MISSING):
            raise NotFound(f"{what}: {error}") from None
        lost = code in _TRANSIENT or error.get_error_domain() in _TRANSPORT
        kind = DriverUnavailable if lost else DriverError
        raise kind(f"libvirt: {what}: {error}") from error


class LibvirtConnection:
    """Safe to use from several threads: each has a connection of its own, and one more brings the events.

    When a connection breaks while two threads wait for answers on it, libvirt's client library before 10.4 writes into
    the stack of one of them (CVE-2024-4418), and Debian 12 has 9.0.
    """

    def __init__(self, uri: str) -> None:
        _start_event_loop()
        self._uri = uri
        self._own = threading.local()
        self._opening = threading.Lock()
        self._hearing: libvirt.virConnect | None = None
        self._callbacks: list[int] = []
        self._events = threading.Condition()
        self._ended: dict[str, Domain] = {}
        self._removals = 0  # counts the devices that guests let go
        self._listeners: list[Callable[[], None]] = []

    def get(self) -> libvirt.virConnect:
        """This thread's connection, to be used by this thread alone. Raises DriverUnavailable when libvirt does not
        answer."""
        with self._opening:
            if self._hearing is None or not self._hearing.isAlive():
                self._drop()
                self._hearing = self._hear()
        own: libvirt.virConnect | None = getattr(self._own, "connection", None)
        if own is None or not own.isAlive():
            own = self._own.connection = self._open()
        return own

    @property
    def hearing(self) -> libvirt.virConnect | None:
        """The connection that brings the events, to be compared only: another one may have missed some."""
        return self._hearing

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def ended(self, expected: set[str]) -> dict[str, Domain]:
        """The domains that ended while this connection was there to hear it, each with its reason. Waits a moment for
        news of those that are ``expected`` to be among them."""
        with self._events:
            self._events.wait_for(lambda: expected <= self._ended.keys(), EVENT_DELAY)
            return dict(self._ended)

    def forget(self, uuid: str) -> None:
        """Forget how a domain ended, because it is being started anew."""
        with self._events:
            self._ended.pop(uuid, None)

    def wait_removed(self, gone: Callable[[], bool], timeout: float) -> bool:
        """Wait for guests to let go of devices until ``gone`` holds; False after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self._removals
            if gone():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._events:
                self._events.wait_for(lambda seen=seen: self._removals != seen, min(EVENT_DELAY, left))  # type: ignore[misc]

    def close(self) -> None:
        """Hear nothing more. The threads' connections end with their threads."""
        if self._opening.acquire(timeout=CLOSE_TIMEOUT):  # else a thread waits for a libvirtd that hangs
            self._drop()
            self._opening.release()

    def _open(self) -> libvirt.virConnect:
        with translated(f"the connection to {self._uri}"):
            try:
                connection = libvirt.open(self._uri)
            except libvirt.libvirtError as error:
                raise DriverUnavailable(f"libvirt does not answer at {self._uri}: {error}") from None
            connection.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
        return connection

    def _hear(self) -> libvirt.virConnect:
        connection = self._open()
        with translated("events"):
            self._callbacks = [
                connection.domainEventRegisterAny(None, event, callback, None)
                for event, callback in (
                    (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
                    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_removed),
                )
            ]
        return connection

    def _drop(self) -> None:
        """Let go of the events' connection. Python closes it with the last reference; each callback holds one."""
        if self._hearing is not None:
            for callback in self._callbacks:
                with suppress(libvirt.libvirtError):  # it is broken, most often
                    self._hearing.domainEventDeregisterAny(callback)
            self._hearing = None

    def _on_lifecycle(
        self, _connection: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, _opaque: object
    ) -> None:
        uuid = domain.UUIDString()
        with self._events:
            if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
                reason = STOP_REASONS.get(detail, "failed")
                self._ended[uuid] = Domain(uuid, domain.name(), DomainRun.SHUTOFF, reason)
            elif event == libvirt.VIR_DOMAIN_EVENT_STARTED:
                self._ended.pop(uuid, None)
            self._events.notify_all()
        for listener in self._listeners:
            listener()

    def _on_removed(self, *_event: object) -> None:
        with self._events:
            self._removals += 1
            self._events.notify_all()


_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


def _start_event_loop() -> None:
    """libvirt's own loop, once in a process, before its first connection: it carries events and signs of life."""
    global _loop
    with _loop_lock:
        if _loop is None:
            libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else each error is printed, too
            libvirt.virEventRegisterDefaultImpl()
            _loop = threading.Thread(target=_run_loop, name="libvirt-events", daemon=True)
            _loop.start()


def _run_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
