"""Floating addresses on this node's interfaces, and how the neighbours learn of them.

The kernel itself takes an address away when its lifetime ends, so a daemon that hangs or was killed keeps none. Each is
a host address and, with IPv6, a deprecated one: nothing that this node sends comes from it unasked, so a node that is
fenced by its own addresses has no other to write from.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface

from pvc_core.drivers.iproute import ip
from pvc_core.errors import DriverError

ARP = 0x0806  # EtherTypes
IPV4 = 0x0800
ETHERNET = 1  # hardware type
REQUEST, REPLY = 1, 2
EVERYONE = b"\xff" * 6
NOBODY = b"\0" * 6

ALL_NODES = "ff02::1"
NEIGHBOUR_ADVERTISEMENT = 136
OVERRIDE = 0x20000000  # what the neighbours remember is to be replaced
TARGET_LINK_LAYER_ADDRESS = 2
HOPS = 255  # which proves to the receiver that no router has passed it on

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is."""

    device: str
    prefix: int
    mac: bytes  # empty where the link has no neighbours to tell


class FloatingAddresses:
    """The part of the network's port that is about them."""

    def __init__(self) -> None:
        self._devices: dict[str, str] = {}  # floating address -> where it went; looked up anew after an announcement

    def hold(self, address: str, beside: str, seconds: int) -> None:
        floating = _parse(address)
        device = self._devices.pop(address, None) or _place_for(address, floating, beside)
        lifetime = ["valid_lft", str(seconds), "preferred_lft", str(seconds) if floating.version == 4 else "0"]
        if floating.version == 6:
            lifetime.append("nodad")  # which would first ask for a second whether another has it
        ip("address", "replace", f"{floating}/{floating.max_prefixlen}", "dev", device, *lifetime)
        self._devices[address] = device

    def announce(self, address: str) -> None:
        self._devices.pop(address, None)
        floating = _parse(address)
        place = _places().get(floating)
        if place is None:
            raise DriverError(f"{address} cannot be announced: this node does not have it")
        if not place.mac:
            return
        try:
            if isinstance(floating, IPv4Address):
                _announce_arp(floating, place)
            else:
                _announce_neighbour(floating, place)
        except OSError as error:
            raise DriverError(f"{address} cannot be announced on {place.device}: {error.strerror}") from None

    def release(self, address: str) -> None:
        floating = _parse(address)
        place = _places().get(floating)
        if place is None:
            return
        try:
            _delete(floating, place)
        except DriverError:
            if floating in _places():  # else its lifetime has ended meanwhile
                raise

    def held(self, addresses: Collection[str]) -> set[str]:
        places = _places() if addresses else {}
        return {address for address in addresses if _parse(address) in places}


def _place_for(address: str, floating: Address, beside: str) -> str:
    """The interface that is to have the address, which is taken from any other."""
    places = _places()
    own = places.get(_parse(beside))
    if own is None:
        raise DriverError(f"{address} has no place here: no interface of this node has the address {beside}")
    if floating in places and places[floating].device != own.device:
        _delete(floating, places[floating])
    return own.device


def _announce_arp(floating: IPv4Address, place: Place) -> None:
    """Both forms, since some heed only one: a request for the own address, and a reply that nobody asked for."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ARP)) as sender:
        for operation, target in ((REQUEST, NOBODY), (REPLY, place.mac)):
            head = struct.pack("!HHBBH", ETHERNET, IPV4, 6, 4, operation)
            message = head + place.mac + floating.packed + target + floating.packed
            sender.sendto(message, (place.device, ARP, 0, ETHERNET, EVERYONE))


def _announce_neighbour(floating: IPv6Address, place: Place) -> None:
    index = socket.if_nametoindex(place.device)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        sender.bind((str(floating), 0, 0, index))
        head = struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, OVERRIDE)  # the kernel fills in the checksum
        option = struct.pack("!BB", TARGET_LINK_LAYER_ADDRESS, 1) + place.mac
        sender.sendto(head + floating.packed + option, (ALL_NODES, 0, 0, index))


def _places() -> dict[Address, Place]:
    found = {}
    for link in json.loads(ip("-json", "address", "show") or "[]"):
        mac = bytes.fromhex(link["address"].replace(":", "")) if link.get("link_type") == "ether" else b""
        for entry in link.get("addr_info", ()):
            if "local" in entry:
                found[_parse(entry["local"])] = Place(link["ifname"], entry["prefixlen"], mac)
    return found


def _delete(floating: Address, place: Place) -> None:
    ip("address", "delete", f"{floating}/{place.prefix}", "dev", place.device)


def _parse(cidr: str) -> Address:
    return ip_interface(cidr).ip
