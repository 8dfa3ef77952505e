"""Bridges and links of this node, through ``ip`` (iproute2)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pvc_core.config import NetworkConfig
from pvc_core.drivers.iproute import ip
from pvc_core.drivers.network_addresses import FloatingAddresses
from pvc_core.errors import DriverError
from pvc_core.model.node import InterfaceStats

NAME_LENGTH = 15  # the kernel's limit for a link's name
VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50  # bytes of outer headers over IPv4
VXLAN_TTL = 4  # routers between two nodes, at most
BRIDGE_NAME = re.compile(r"vmbr\d+")
# Kinds of links that stand for a cable: none is a network card itself, and a node in a container is wired by veth.
CABLES = {None, "bond", "veth"}

Link = Mapping[str, Any]


class LinuxNetwork(FloatingAddresses):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self._config = config

    def bridges(self) -> set[str]:
        return {name for name, link in _links().items() if _kind(link) == "bridge" and BRIDGE_NAME.fullmatch(name)}

    def ensure_bridged(self, vni: int, mtu: int | None) -> None:
        links = _links()
        below = self._device(links)
        wanted = self._mtu(below, mtu)
        bridge, uplink = f"vmbr{vni}", self._uplink(vni)
        if _kind(links.get(bridge)) != "bridge":
            # Machines may be behind any port, so nothing waits, learns a topology, or holds multicast back.
            ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
            ip("link", "set", bridge, "addrgenmode", "none")  # this node has no address in a network of machines
        if _kind(links.get(uplink)) != self._config.bridge_transport:
            self._add_uplink(uplink, vni)
        _set(uplink, links.get(uplink), wanted, bridge)
        _set(bridge, links.get(bridge), wanted, None)

    def remove_bridged(self, vni: int) -> None:
        links = _links()
        for name in (self._uplink(vni), f"vmbr{vni}"):
            if name in links:
                ip("link", "delete", name)

    def interfaces(self) -> dict[str, InterfaceStats]:
        return {
            name: _interface_stats(name, link)
            for name, link in _links().items()
            if link.get("link_type") == "ether" and _kind(link) in CABLES
        }

    def _device(self, links: Mapping[str, Link]) -> Link:
        name = self._config.bridge_device
        if not name:
            raise DriverError("bridged networks need network.bridge_device in the configuration of this node")
        if name not in links:
            raise DriverError(f"this node has no link {name!r}, which network.bridge_device names")
        return links[name]

    def _mtu(self, below: Link, mtu: int | None) -> int:
        """The MTU of a network: its own, else the configured one as far as the links below carry it."""
        room = int(below["mtu"]) - (VXLAN_OVERHEAD if self._config.bridge_transport == "vxlan" else 0)
        if mtu is None:
            return min(self._config.bridge_mtu, room)
        if mtu > room:
            raise DriverError(f"an MTU of {mtu} does not fit: {self._config.bridge_device} leaves room for {room}")
        return mtu

    def _uplink(self, vni: int) -> str:
        """Name of the link that joins a bridge to the switches."""
        if self._config.bridge_transport == "vxlan":
            return f"vxlan{vni}"
        name = f"{self._config.bridge_device}.{vni}"
        return name if len(name) <= NAME_LENGTH else f"vlan{vni}"

    def _add_uplink(self, name: str, vni: int) -> None:
        device = self._config.bridge_device
        ip("link", "set", device, "up")
        if self._config.bridge_transport == "vlan":
            ip("link", "add", name, "link", device, "type", "vlan", "id", str(vni))
            return
        group = f"239.{vni >> 16 & 255}.{vni >> 8 & 255}.{vni & 255}"
        where = ("dev", device, "group", group, "dstport", str(VXLAN_PORT), "ttl", str(VXLAN_TTL))
        ip("link", "add", name, "type", "vxlan", "id", str(vni), *where)
        ip("link", "set", name, "addrgenmode", "none")


def _set(name: str, link: Link | None, mtu: int, master: str | None) -> None:
    """Bring a link up with this MTU in this bridge, unless it is so."""
    up = link is not None and "UP" in link["flags"]
    if link is not None and up and link["mtu"] == mtu and (master is None or link.get("master") == master):
        return
    ip("link", "set", name, "mtu", str(mtu), *(("master", master) if master else ()), "up")


def _links() -> dict[str, Link]:
    links = json.loads(ip("-json", "-details", "-statistics", "link", "show") or "[]")
    return {link["ifname"]: link for link in links if "ifname" in link}


def _kind(link: Link | None) -> str | None:
    return None if link is None else link.get("linkinfo", {}).get("info_kind")


def _interface_stats(name: str, link: Link) -> InterfaceStats:
    received, sent = link["stats64"]["rx"], link["stats64"]["tx"]
    return InterfaceStats(
        state=link["operstate"].lower(),
        speed_mbps=_speed(name),
        rx_bytes=received["bytes"],
        rx_packets=received["packets"],
        tx_bytes=sent["bytes"],
        tx_packets=sent["packets"],
        bond=link["master"] if link.get("linkinfo", {}).get("info_slave_kind") == "bond" else "",
    )


def _speed(name: str) -> int | None:
    """In Mbit/s; None for a link that is down or has no speed of its own."""
    try:
        speed = int(Path("/sys/class/net", name, "speed").read_text())
    except (OSError, ValueError):
        return None
    return speed if speed > 0 else None
