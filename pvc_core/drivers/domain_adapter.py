"""The cluster's domain XML made fit for the node on which the machine is started.

What depends on the node or the installation is not kept in the cluster's XML, or is overruled here, so that a machine
starts anywhere, and also where the installation has changed since it was defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from pvc_core.drivers import accelerator
from pvc_core.drivers.accelerator import DomainType
from pvc_core.model.domain import document

# CPU models that stand for the host's own, which only KVM can give.
HOST_CPUS = frozenset({"host-passthrough", "host-model"})


@dataclass(frozen=True)
class Storage:
    """How QEMU reaches Ceph. ``secret_uuid`` is libvirt's secret with the key, empty where cephx is off."""

    config_file: str
    user: str
    secret_uuid: str


def adapt_domain(xml: str, domain_type: DomainType, storage: Storage, console_directory: Path) -> str:
    """The whole domain for this node. Raises BadRequest for what is no domain."""
    root = document(xml, "domain")
    root.set("type", domain_type)
    _set_emulator(root)
    if domain_type == "qemu":
        _drop_host_cpu(root)
    for disk in root.iterfind("devices/disk"):
        _set_storage(disk, storage)
    _set_console_log(root, console_directory / f"{root.findtext('uuid')}.log")
    return str(etree.tostring(root, encoding="unicode"))


def adapt_device(xml: str, storage: Storage) -> str:
    """One device that is plugged into a running machine. Raises BadRequest for what is no device."""
    root = document(xml, "device")
    if root.tag == "disk":
        _set_storage(root, storage)
    return str(etree.tostring(root, encoding="unicode"))


def _set_emulator(root: etree._Element) -> None:
    """QEMU itself: wrappers such as /usr/bin/kvm turn KVM on, whatever the domain's type."""
    os_type = root.find("os/type")
    arch = os_type.get("arch", "x86_64") if os_type is not None else "x86_64"
    path = accelerator.emulator(arch)
    if not path:
        return
    devices = _child(root, "devices")
    element = devices.find("emulator")
    if element is None:
        element = etree.Element("emulator")
        devices.insert(0, element)
    element.text = path


def _drop_host_cpu(root: etree._Element) -> None:
    """Leave QEMU's default model, and of the old description only the topology."""
    cpu = root.find("cpu")
    if cpu is None or cpu.get("mode") not in HOST_CPUS:
        return
    for name in list(cpu.attrib):
        del cpu.attrib[name]
    for child in list(cpu):
        if child.tag != "topology":
            cpu.remove(child)


def _set_storage(disk: etree._Element, storage: Storage) -> None:
    """Let librbd find the monitors in Ceph's own configuration, which is right also after monitors have changed."""
    source = disk.find("source[@protocol='rbd']")
    if source is None:
        return
    for tag in ("host", "config", "auth"):
        for element in [*source.findall(tag), *disk.findall(tag)]:
            element.getparent().remove(element)
    etree.SubElement(source, "config", file=storage.config_file)
    if storage.secret_uuid:
        auth = etree.SubElement(disk, "auth", username=storage.user)
        etree.SubElement(auth, "secret", type="ceph", uuid=storage.secret_uuid)


def _set_console_log(root: etree._Element, path: Path) -> None:
    """Write the first serial port to ``path`` also; give the machine one where it has none."""
    devices = _child(root, "devices")
    port = devices.find("serial")
    if port is None:
        port = devices.find("console")
    if port is None:
        port = etree.SubElement(devices, "serial", type="pty")
    for old in port.findall("log"):
        port.remove(old)
    etree.SubElement(port, "log", file=str(path), append="on")


def _child(root: etree._Element, tag: str) -> etree._Element:
    element = root.find(tag)
    return etree.SubElement(root, tag) if element is None else element
