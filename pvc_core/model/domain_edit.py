"""Changes to a machine's libvirt XML: each takes the text and gives the changed text, evenly indented.

Each raises BadRequest, as ``domain.parse`` does, for a text that is no domain.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping
from random import Random

from lxml import etree

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.domain import DeviceSpec, device_spec, document, parse


def complete(xml: str, random: Random) -> str:
    """Give the domain a uuid and each network card an address where there is none yet."""
    root = document(xml, "domain")
    if not parse(xml).uuid:
        _set(root, "uuid", str(uuids.UUID(int=random.getrandbits(128), version=4)))
    for element in root.iterfind("devices/interface"):
        _complete_card(element, random)
    return _text(root)


def complete_device(xml: str, random: Random) -> str:
    """Give a network card an address when it has none; other devices stay as they are."""
    root = document(xml, "device")
    if root.tag == "interface":
        _complete_card(root, random)
    return _text(root)


def set_name(xml: str, name: str) -> str:
    root = document(xml, "domain")
    _set(root, "name", name)
    return _text(root)


def set_uuid(xml: str, uuid: str) -> str:
    root = document(xml, "domain")
    _set(root, "uuid", uuid)
    return _text(root)


def set_volumes(xml: str, volumes: Mapping[str, str]) -> str:
    """Let the domain have other volumes: ``pool/volume`` as it has them -> as it gets them. The rest stay."""
    root = document(xml, "domain")
    for source in root.iterfind("devices/disk/source[@protocol='rbd']"):
        name = source.get("name", "")
        source.set("name", volumes.get(name, name))
    return _text(root)


def without_outside(xml: str) -> str:
    """The domain without network cards and without devices and directories of the host, so that nobody notices it."""
    root = document(xml, "domain")
    for element in root.xpath("devices/interface | devices/hostdev | devices/filesystem | devices/shmem"):
        element.getparent().remove(element)
    return _text(root)


def has_device(xml: str, device_xml: str) -> bool:
    """Whether the domain has this very device: one that has all that ``device_xml`` says, and perhaps more."""
    wanted = document(device_xml, "device")
    return any(_fits(wanted, element) for element in _devices(document(xml, "domain")))


def add_device(xml: str, device_xml: str) -> str:
    """Raises Conflict when the domain has a device that cannot stand beside the new one."""
    root = document(xml, "domain")
    wanted = document(device_xml, "device")
    for element in _devices(root):
        if _same(wanted, element):
            raise Conflict(f"the VM has {_describe(element)} already")
    devices = root.find("devices")
    if devices is None:
        devices = etree.SubElement(root, "devices")
    devices.append(wanted)
    return _text(root)


def remove_device(xml: str, device_xml: str) -> str:
    """Raises as ``find_device`` does."""
    root = document(xml, "domain")
    element = _find(root, device_xml)
    element.getparent().remove(element)
    return _text(root)


def find_device(xml: str, device_xml: str) -> str:
    """The domain's own, full XML of the device that ``device_xml`` describes: a disk by its target, a network card by
    its address, anything else by all that is said of it. Raises NotFound, or Conflict when several fit."""
    return _text(_find(document(xml, "domain"), device_xml))


def _find(root: etree._Element, device_xml: str) -> etree._Element:
    wanted = document(device_xml, "device")
    found = [element for element in _devices(root) if _same(wanted, element)]
    if not found:
        raise NotFound(f"the VM has no {_describe(wanted).removeprefix('a ')}")
    if len(found) > 1:
        raise Conflict(f"{len(found)} devices of the VM are {_describe(wanted)}: say more of it, such as its address")
    return found[0]


def _devices(root: etree._Element) -> list[etree._Element]:
    return [element for element in root.iterfind("devices/*") if isinstance(element.tag, str)]


def _same(wanted: etree._Element, element: etree._Element) -> bool:
    """Whether the two stand for one device, though other things said of them may differ."""
    if wanted.tag != element.tag:
        return False
    mine, other = device_spec(wanted), device_spec(element)
    if mine.disk and other.disk:
        return mine.disk.dev == other.disk.dev
    if mine.nic and other.nic and mine.nic.mac:
        return mine.nic.mac == other.nic.mac
    return _fits(wanted, element)


def _fits(wanted: etree._Element, element: etree._Element) -> bool:
    """Whether ``element`` has the attributes, the text and the children of ``wanted``."""
    text = (wanted.text or "").strip()
    if wanted.tag != element.tag or (text and text != (element.text or "").strip()):
        return False
    if any(_value(element, name) != _value(wanted, name) for name in wanted.attrib):
        return False
    return all(any(_fits(child, other) for other in element) for child in wanted if isinstance(child.tag, str))


def _value(element: etree._Element, name: str) -> str | None:
    value: str | None = element.get(name)
    return value.lower() if value is not None and element.tag == "mac" else value


def _describe(element: etree._Element) -> str:
    spec: DeviceSpec = device_spec(element)
    if spec.disk:
        return f"a disk {spec.disk.dev}"
    if spec.nic:
        return f"a network card {spec.nic.mac}" if spec.nic.mac else f"a network card on {spec.nic.source}"
    return f"a device <{spec.kind}> like this"


def _complete_card(element: etree._Element, random: Random) -> None:
    mac = element.find("mac")
    if mac is None:
        mac = etree.Element("mac")
        element.insert(0, mac)
    if not mac.get("address"):
        # Below QEMU's 52:54, which says "given out locally, to one card", all 32 bits are drawn: 24 meet too often.
        tail = random.getrandbits(32).to_bytes(4, "big")
        mac.set("address", bytes([0x52, 0x54, *tail]).hex(":"))


def _set(root: etree._Element, tag: str, text: str) -> None:
    element = root.find(tag)
    if element is None:
        element = etree.Element(tag)
        root.insert(0, element)
    element.text = text


def _text(root: etree._Element) -> str:
    etree.indent(root)
    root.tail = None
    text: str = etree.tostring(root, encoding="unicode")
    return f"{text}\n"
