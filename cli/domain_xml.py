"""Reading and changing the libvirt XML of a machine: memory, vCPUs, disks, network cards.

What is not touched stays as it was, comments and foreign namespaces included; only the indentation is made even.
"""

from __future__ import annotations

import contextlib
import copy
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import Element

from cli.errors import CliError

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Domain:
    """The description of one machine, parsed. Raises CliError when it is not well formed, or no domain."""

    def __init__(self, text: str) -> None:
        try:
            # ElementTree invents prefixes for namespaces that it was not told of, and libvirt's are part of its format.
            declared: Iterator[tuple[str, Any]] = ET.iterparse(io.StringIO(text), events=("start-ns",))
            for _, (prefix, uri) in declared:
                with contextlib.suppress(ValueError):  # a prefix like ns0, which ElementTree keeps for itself
                    ET.register_namespace(prefix, uri)
            self.root = ET.fromstring(text, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
        except ET.ParseError as error:
            raise CliError(f"the XML is not well formed: {error}") from None
        if self.root.tag != "domain":
            raise CliError(f"this is the XML of a <{self.root.tag}>, where that of a <domain> is needed")

    def __str__(self) -> str:
        ET.indent(self.root)
        return ET.tostring(self.root, encoding="unicode")

    def set_memory(self, mebibytes: int) -> None:
        """At once, so without a balloon: what is current follows what there is."""
        memory = self._child(self.root, "memory")
        memory.set("unit", "MiB")
        memory.text = str(mebibytes)
        current = self.root.find("currentMemory")
        if current is not None:
            self.root.remove(current)

    def set_vcpus(self, count: int, topology: tuple[int, int, int] | None = None) -> None:
        """``topology`` is sockets, cores, threads. Without one, a topology that is there becomes ``count`` cores."""
        vcpu = self._child(self.root, "vcpu")
        vcpu.attrib.pop("current", None)
        vcpu.text = str(count)
        present = self.root.find("cpu/topology")
        if topology is None and present is None:
            return
        if present is None:
            present = ET.SubElement(self._child(self.root, "cpu"), "topology")
        present.attrib.pop("dies", None)
        for name, number in zip(("sockets", "cores", "threads"), topology or (1, count, 1), strict=True):
            present.set(name, str(number))

    def disks(self) -> list[Element]:
        return self.root.findall("devices/disk")

    def disk(self, volume: str) -> Element:
        """The disk whose volume (``pool/name``) or file (a path) this is. Raises CliError naming those there are."""
        for disk in self.disks():
            if volume_of(disk) == volume:
                return disk
        raise CliError(f"there is no disk {volume}; there are {_listed(map(volume_of, self.disks()))}")

    def new_disk(self, volume: str, kind: str, bus: str | None, target: str | None) -> Element:
        """A disk of this machine, not yet added. How Ceph is reached is not said: each node knows that itself."""
        buses = (disk.get("bus") for disk in self.root.findall("devices/disk/target"))
        bus = bus or next(filter(None, buses), "virtio")
        disk = Element("disk", type="network" if kind == "rbd" else "file", device="disk")
        ET.SubElement(disk, "driver", name="qemu", type="raw", discard="unmap")
        place = {"protocol": "rbd", "name": volume} if kind == "rbd" else {"file": volume}
        ET.SubElement(disk, "source", place)
        ET.SubElement(disk, "target", dev=target or self._free_target(bus), bus=bus)
        return disk

    def interfaces(self) -> list[Element]:
        return self.root.findall("devices/interface")

    def interface(self, bridge: str | None, mac: str | None) -> Element:
        """The network card with this bridge, this MAC address, or both. Raises CliError unless there is just one."""
        found = [
            card
            for card in self.interfaces()
            if (bridge is None or bridge_of(card) == bridge) and (mac is None or mac_of(card) == mac.lower())
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise CliError(f"several cards are in that network; choose one with -m: {_listed(map(mac_of, found))}")
        present = _listed(f"{bridge_of(card)} {mac_of(card)}" for card in self.interfaces())
        raise CliError(f"there is no such network card; there are {present}")

    @staticmethod
    def new_interface(bridge: str, model: str, mac: str | None) -> Element:
        """A network card, not yet added. One without a MAC address is given one by the API."""
        interface = Element("interface", type="bridge")
        if mac:
            ET.SubElement(interface, "mac", address=mac)
        ET.SubElement(interface, "source", bridge=bridge)
        ET.SubElement(interface, "model", type=model)
        return interface

    def add(self, device: Element) -> None:
        self._child(self.root, "devices").append(device)

    def remove(self, device: Element) -> None:
        self._child(self.root, "devices").remove(device)

    def _free_target(self, bus: str) -> str:
        taken = {target.get("dev") for target in self.root.findall("devices/disk/target")}
        return next(name for name in _targets(bus) if name not in taken)

    @staticmethod
    def _child(parent: Element, tag: str) -> Element:
        """The child, made when it is missing."""
        child = parent.find(tag)
        return ET.SubElement(parent, tag) if child is None else child


def device_text(device: Element) -> str:
    """A single device as XML."""
    device = copy.deepcopy(device)
    device.tail = None
    ET.indent(device)
    return ET.tostring(device, encoding="unicode")


def volume_of(disk: Element) -> str:
    """``pool/name`` of an RBD disk, else the path of its file or block device."""
    source = disk.find("source")
    return "" if source is None else source.get("name") or source.get("file") or source.get("dev") or ""


def bridge_of(interface: Element) -> str:
    source = interface.find("source")
    return "" if source is None else source.get("bridge") or source.get("network") or source.get("dev") or ""


def mac_of(interface: Element) -> str:
    mac = interface.find("mac")
    return "" if mac is None else (mac.get("address") or "").lower()


def _targets(bus: str) -> Iterator[str]:
    """Device names of a bus in their order: vda to vdz, vdaa and so on."""
    prefix = {"virtio": "vd", "ide": "hd"}.get(bus, "sd")
    yield from (prefix + letter for letter in _LETTERS)
    yield from (prefix + first + second for first in _LETTERS for second in _LETTERS)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if name)) or "none"
