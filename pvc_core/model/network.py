"""Networks that machines are attached to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NetworkType(StrEnum):
    BRIDGED = "bridged"  # a VLAN of the upstream switches, given to machines as it is
    MANAGED = "managed"  # the cluster's own: VXLAN, DHCP, DNS, routing


@dataclass(frozen=True, slots=True)
class Network:
    vni: int  # VLAN id of a bridged network, 1 to 4094
    description: str
    type: NetworkType
    mtu: int | None = None  # None: the interface's own

    @property
    def bridge(self) -> str:
        """Name of the bridge that stands for this network on each node."""
        return f"vmbr{self.vni}"
