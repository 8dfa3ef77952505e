"""What a machine is made of, read from its libvirt domain XML.

The XML comes from users, so it is read without entities, document types and network access.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

from pvc_core.errors import BadRequest
from pvc_core.model.vm import VmSize

MAX_LENGTH = 512 * 1024  # characters; ZooKeeper's records end at 1 MiB
CACHED = 16_384  # parsed machines that are kept

MIB = 1024 * 1024
_UNITS: dict[str, int] = {"": 1024, "b": 1, "byte": 1, "bytes": 1} | {  # libvirt's virScaleInteger: no unit means KiB
    letter + suffix: base**power
    for power, letter in enumerate("kmgtpe", start=1)
    for suffix, base in (("", 1024), ("ib", 1024), ("b", 1000))
}
_BRIDGE = re.compile(r"vmbr(\d+)")


@dataclass(frozen=True, slots=True)
class Disk:
    """``type`` is ``rbd`` (then ``name`` is ``pool/volume``), another network protocol, ``file`` or ``block``."""

    dev: str
    bus: str
    type: str
    name: str
    readonly: bool = False
    shareable: bool = False

    @property
    def volume(self) -> str:
        """``pool/volume`` of a disk in the cluster's storage, else empty."""
        return self.name if self.type == "rbd" else ""

    @property
    def exclusive(self) -> bool:
        """Whether no other machine may have the same disk."""
        return not (self.readonly or self.shareable)


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card. ``vni`` is None where its source is no bridge of a network of the cluster."""

    mac: str  # lower case; empty where libvirt would make one up
    model: str
    type: str
    source: str
    vni: int | None = None


@dataclass(frozen=True, slots=True)
class Controller:
    type: str
    model: str


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """A machine as its XML describes it. ``uuid`` is empty when the XML has none; ``memory`` is in MiB."""

    uuid: str
    name: str
    description: str
    type: str
    memory: int
    vcpu: int
    topology: str  # sockets/cores/threads
    arch: str
    machine: str
    emulator: str
    features: tuple[str, ...]
    controllers: tuple[Controller, ...]
    console: str
    vnc_listen: str
    vnc_port: str
    disks: tuple[Disk, ...]
    networks: tuple[Nic, ...]

    @property
    def volumes(self) -> tuple[str, ...]:
        """``pool/volume`` of its disks in the cluster's storage."""
        return tuple(disk.volume for disk in self.disks if disk.volume)

    @property
    def size(self) -> VmSize:
        return VmSize(self.memory, self.vcpu)


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device; ``disk`` or ``nic`` is set where it is such a thing."""

    kind: str  # the element's name: disk, interface, hostdev, ...
    disk: Disk | None = None
    nic: Nic | None = None


@lru_cache(CACHED)
def parse(xml: str) -> DomainSpec:
    """Read a domain's XML. The latest results are kept, so that reading an unchanged machine again is free.

    Raises BadRequest with the line and what is wrong there.
    """
    root = document(xml, "domain")
    memory, vcpu = _memory(root), _vcpu(root)
    os_type = root.find("os/type")
    graphics = next((item for item in root.iterfind("devices/graphics") if item.get("type") == "vnc"), None)
    console = root.find("devices/console")
    features = root.find("features")
    return DomainSpec(
        uuid=_uuid(root),
        name=_required(root, "name"),
        description=_text(root, "description"),
        type=root.get("type", ""),
        memory=memory,
        vcpu=vcpu,
        topology=_topology(root, vcpu),
        arch=_attribute(os_type, "arch"),
        machine=_attribute(os_type, "machine"),
        emulator=_text(root, "devices/emulator"),
        features=tuple(_children(features)) if features is not None else (),
        controllers=tuple(
            Controller(item.get("type", ""), item.get("model", "")) for item in root.iterfind("devices/controller")
        ),
        console=_attribute(console, "type"),
        vnc_listen=_attribute(graphics, "listen"),
        vnc_port=_attribute(graphics, "port"),
        disks=_disks(root),
        networks=_networks(root),
    )


def parse_device(xml: str) -> DeviceSpec:
    """Read the XML of one device. Raises BadRequest with the line and what is wrong there."""
    return device_spec(document(xml, "device"))


def device_spec(element: etree._Element) -> DeviceSpec:
    """The same for an element that is parsed already."""
    kind = str(element.tag)
    return DeviceSpec(
        kind,
        disk=_disk(element) if kind == "disk" else None,
        nic=_nic(element) if kind == "interface" else None,
    )


def document(xml: str, kind: str) -> etree._Element:
    """The root element of an XML text. ``kind`` is what it must be: ``domain``, or ``device`` for any other element.

    Raises BadRequest.
    """
    if len(xml) > MAX_LENGTH:
        raise BadRequest(f"the {kind} XML has {len(xml)} characters, and may have {MAX_LENGTH}")
    if "<!DOCTYPE" in xml:
        raise BadRequest(f"the {kind} XML has a document type declaration, which is not accepted: remove it")
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(xml.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise BadRequest(f"the {kind} XML is not well formed: {error.msg}") from None
    except UnicodeEncodeError:
        raise BadRequest(f"the {kind} XML has characters that are not Unicode text") from None
    if (root.tag == "domain") != (kind == "domain"):
        wanted = "<domain>" if kind == "domain" else "one device, such as <disk> or <interface>"
        raise BadRequest(f"the {kind} XML holds <{root.tag}>, and {wanted} is wanted")
    return root


def _wrong(element: etree._Element, what: str) -> BadRequest:
    return BadRequest(f"the domain XML, line {element.sourceline}: {what}")


def _required(root: etree._Element, path: str) -> str:
    text = _text(root, path)
    if not text:
        raise _wrong(root, f"<{root.tag}> needs a <{path}>")
    return text


def _text(root: etree._Element, path: str) -> str:
    return (root.findtext(path) or "").strip()


def _attribute(element: etree._Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _children(element: etree._Element) -> Iterator[str]:
    return (child.tag for child in element if isinstance(child.tag, str))


def _uuid(root: etree._Element) -> str:
    text = _text(root, "uuid")
    if not text:
        return ""
    try:
        return str(uuids.UUID(text))
    except ValueError:
        raise _wrong(root.find("uuid"), f"{text!r} is not a uuid") from None


def _memory(root: etree._Element) -> int:
    text = _required(root, "memory")
    element = root.find("memory")
    unit = element.get("unit", "")
    factor: int | None = _UNITS.get(unit.lower())
    if factor is None:
        raise _wrong(element, f"unknown unit of memory {unit!r}: use KiB, MiB or GiB")
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _wrong(element, f"memory must be a positive whole number, not {text!r}")
    return -(-int(text) * factor // MIB)


def _vcpu(root: etree._Element) -> int:
    text = _text(root, "vcpu") or "1"
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _wrong(root.find("vcpu"), f"vcpu must be a positive whole number, not {text!r}")
    return int(text)


def _topology(root: etree._Element, vcpu: int) -> str:
    """libvirt's default is one socket for each vCPU."""
    topology = root.find("cpu/topology")
    if topology is None:
        return f"{vcpu}/1/1"
    return "/".join(topology.get(part, "1") for part in ("sockets", "cores", "threads"))


def _disks(root: etree._Element) -> tuple[Disk, ...]:
    disks: dict[str, Disk] = {}
    used = set()
    for element in root.iterfind("devices/disk"):
        disk = _disk(element)
        if disk.dev in disks:
            raise _wrong(element, f"two disks have the target {disk.dev}")
        if disk.volume and disk.volume in used:
            raise _wrong(element, f"the volume {disk.volume} is named twice")
        disks[disk.dev] = disk
        used.add(disk.volume)
    return tuple(disks.values())


def _disk(element: etree._Element) -> Disk:
    target, source = element.find("target"), element.find("source")
    if target is None or not target.get("dev"):
        raise _wrong(element, '<disk> needs a <target dev="..."/>')
    kind = element.get("type", "")
    if kind == "network":
        kind, name = _attribute(source, "protocol"), _attribute(source, "name")
        if kind == "rbd" and not all(name.partition("/")[::2]):
            raise _wrong(element, f'an rbd disk needs a source name like "pool/volume", not {name!r}')
    else:
        name = _attribute(source, "dev" if kind == "block" else "file")
    return Disk(
        dev=target.get("dev"),
        bus=target.get("bus", ""),
        type=kind,
        name=name,
        readonly=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
    )


def _networks(root: etree._Element) -> tuple[Nic, ...]:
    nics = []
    macs = set()
    for element in root.iterfind("devices/interface"):
        nic = _nic(element)
        if nic.mac and nic.mac in macs:
            raise _wrong(element, f"two network cards have the address {nic.mac}")
        macs.add(nic.mac)
        nics.append(nic)
    return tuple(nics)


def _nic(element: etree._Element) -> Nic:
    kind = element.get("type", "")
    mac = _attribute(element.find("mac"), "address").lower()
    if mac and not re.fullmatch(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", mac):
        raise _wrong(element, f"{mac!r} is not a MAC address of one card, such as 52:54:00:12:34:56")
    source = _attribute(element.find("source"), {"bridge": "bridge", "network": "network"}.get(kind, "dev"))
    bridge = _BRIDGE.fullmatch(source) if kind == "bridge" else None
    return Nic(
        mac=mac,
        model=_attribute(element.find("model"), "type"),
        type=kind,
        source=source,
        vni=int(bridge[1]) if bridge else None,
    )
