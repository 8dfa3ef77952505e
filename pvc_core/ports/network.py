"""The kernel's network: bridges, links and addresses of one node."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from pvc_core.model.node import InterfaceStats


class NetworkPlane(Protocol):
    """Bridges and links of one node."""

    def bridges(self) -> set[str]:
        """Names of the bridges that stand for the cluster's networks here."""
        ...

    def ensure_bridged(self, vni: int, mtu: int | None) -> None:
        """Make the bridge of a bridged network and connect it to the upstream switches; nothing when it is as
        wanted."""
        ...

    def remove_bridged(self, vni: int) -> None:
        """Take the bridge of a network away; no error when there is none."""
        ...

    def hold(self, address: str, beside: str, seconds: int) -> None:
        """Have a floating address (CIDR) on the interface that has this node's own address ``beside`` (CIDR), for so
        long from now: then it goes by itself within a second, even if nothing of ours runs any more. Doing it again
        makes it stay for longer. Raises DriverError when no interface has ``beside``."""
        ...

    def announce(self, address: str) -> None:
        """Tell the neighbours that a floating address is here, by gratuitous ARP or unsolicited neighbour
        advertisement. Raises DriverError when this node does not have it."""
        ...

    def release(self, address: str) -> None:
        """Give a floating address (CIDR) up; no error when this node does not have it."""
        ...

    def held(self, addresses: Collection[str]) -> set[str]:
        """Those of the floating addresses (CIDR) that this node has."""
        ...

    def interfaces(self) -> dict[str, InterfaceStats]:
        """Counters of the physical interfaces by name."""
        ...
