"""libvirt: the machines of one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pvc_core.model.node import DomainStats
from pvc_core.model.vm import Domain as Domain
from pvc_core.model.vm import DomainRun as DomainRun


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """Bytes of memory; ``total`` grows while the guest writes."""

    done: int
    total: int


class Hypervisor(Protocol):
    """Domains of one node (libvirt). Domains are transient: one that is off leaves nothing behind."""

    def domains(self) -> dict[str, Domain]:
        """Every domain of this node by uuid."""
        ...

    def start(self, xml: str) -> Domain:
        """Create and start a domain from the cluster's XML, adapted to this node (domain type, emulator, Ceph's
        monitors and secret, console log). Raises Conflict when it runs already."""
        ...

    def shutdown(self, uuid: str) -> None:
        """Ask the guest to power off. Returns at once. NotFound when there is no such domain."""
        ...

    def destroy(self, uuid: str) -> None:
        """Cut its power. No error when there is no such domain."""
        ...

    def attach(self, uuid: str, device_xml: str) -> None:
        """Plug a device into the running domain."""
        ...

    def detach(self, uuid: str, device_xml: str, timeout: float) -> None:
        """Unplug a device and wait until the guest let it go. Failed when it does not within ``timeout`` seconds."""
        ...

    def migrate(
        self,
        uuid: str,
        target: str,
        max_downtime: int,
        progress: Callable[[MigrationProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Move a running domain to the node whose libvirt answers at the address ``target``; returns when it runs
        there. ``max_downtime`` in milliseconds. Raises Cancelled, or DriverError with the domain still running
        here."""
        ...

    def freeze(self, uuid: str) -> bool:
        """Have the guest's agent write out and freeze its file systems; False where no agent answers within a few
        seconds. NotFound when the domain does not run."""
        ...

    def pause(self, uuid: str) -> None:
        """Stop the domain's CPUs, with its disk I/O at rest when this returns. NotFound when it does not run."""
        ...

    def release(self, uuid: str) -> None:
        """Let a domain go on that ``pause`` or ``freeze`` stopped; nothing where neither did, or there is none."""
        ...

    def statistics(self) -> dict[str, DomainStats]:
        """Counters of all running domains by uuid, read in one call."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after a domain began, ended, paused or went on; it must return at once. Changes may be
        missed while libvirt is not connected, so a call is a reason to look sooner, not the only reason to look."""
        ...

    def close(self) -> None: ...
