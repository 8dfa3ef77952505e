"""Counters of the node's machines and interfaces, read on a thread of their own because their sources may hang."""

from __future__ import annotations

from dataclasses import replace

from pvc_core.errors import PvcError
from pvc_core.model.node import DomainStats, InterfaceStats
from pvc_core.ports import Clock, Hypervisor, NetworkPlane
from pvc_node.trouble import Trouble

SILENT_INTERVALS = 5  # a source that does not return for as long counts as failing
INTERFACES_EVERY = 10.0  # seconds: reading them costs a process, and nothing is decided by them


class Sampler:
    """``domains`` and ``interfaces`` are what was read last; they stay when a source fails."""

    def __init__(self, hypervisor: Hypervisor, network: NetworkPlane, clock: Clock, interval: float) -> None:
        self._hypervisor = hypervisor
        self._network = network
        self._clock = clock
        self._limit = SILENT_INTERVALS * interval
        self._returned = clock.monotonic()
        self._interfaces_due = 0.0
        self._interfaces_read = 0.0
        self._libvirt = Trouble("libvirt statistics")
        self._links = Trouble("network interfaces")
        self.domains: dict[str, DomainStats] = {}
        self.interfaces: dict[str, InterfaceStats] = {}

    def sample(self) -> None:
        """Read what is due."""
        try:
            self.domains = self._hypervisor.statistics()
            self._libvirt.end()
        except PvcError as error:
            self._libvirt.begin(error)
        if self._clock.monotonic() >= self._interfaces_due:
            self._sample_interfaces()
        self._returned = self._clock.monotonic()

    def _sample_interfaces(self) -> None:
        now = self._clock.monotonic()
        self._interfaces_due = now + INTERFACES_EVERY
        try:
            read, seconds = self._network.interfaces(), now - self._interfaces_read
        except PvcError as error:
            self._links.begin(error)
            return
        known = self.interfaces
        self.interfaces = {name: _with_rates(card, known.get(name, card), seconds) for name, card in read.items()}
        self._interfaces_read = now
        self._links.end()

    @property
    def libvirt_trouble(self) -> str:
        """Why libvirt cannot be relied on now; empty when it can."""
        silent = self._clock.monotonic() - self._returned
        if silent > self._limit:
            return f"libvirt has not answered for {silent:.0f} s"
        return self._libvirt.message


def _with_rates(card: InterfaceStats, before: InterfaceStats, seconds: float) -> InterfaceStats:
    """What its counters rose by in a second since they were read as ``before``; they begin anew with the link."""

    def rate(new: int, old: int) -> float:
        return round(max(0, new - old) / seconds, 1) if seconds else 0.0

    return replace(
        card,
        rx_byte_rate=rate(card.rx_bytes, before.rx_bytes),
        rx_packet_rate=rate(card.rx_packets, before.rx_packets),
        tx_byte_rate=rate(card.tx_bytes, before.tx_bytes),
        tx_packet_rate=rate(card.tx_packets, before.tx_packets),
    )
