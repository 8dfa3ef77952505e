"""What the driver for libvirt changes in the cluster's XML, and what it leaves alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lxml import etree

from pvc_core.drivers.domain_adapter import Storage, adapt_device, adapt_domain
from pvc_core.errors import BadRequest

OPEN = Storage("/etc/ceph/ceph.conf", "admin", "")
KEYED = Storage("/etc/ceph/other.conf", "pvc", "7f0f1f9c-9f3d-4f0e-8d2b-2c9b0f6f3f11")
CONSOLES = Path("/var/log/pvc/console")
DISK = """<disk type='network' device='disk'>
  <auth username='libvirt'><secret type='ceph' uuid='00000000-0000-0000-0000-000000000001'/></auth>
  <source protocol='rbd' name='vms/disk'><host name='10.0.0.1' port='6789'/><host name='10.0.0.2' port='6789'/></source>
  <target dev='sda' bus='scsi'/>
</disk>"""


def domain(devices: str = "", more: str = "") -> str:
    return f"""<domain type='kvm'><name>vm</name><uuid>3c1e</uuid>
      <os><type arch='x86_64' machine='pc'>hvm</type></os>{more}<devices>{devices}</devices></domain>"""


def adapt(xml: str, domain_type: str = "qemu", storage: Storage = OPEN) -> etree._Element:
    return etree.fromstring(adapt_domain(xml, domain_type, storage, CONSOLES))


@pytest.mark.parametrize("domain_type", ["kvm", "qemu"])
def test_the_domain_is_of_the_type_that_works_here(domain_type: str) -> None:
    assert adapt(domain(), domain_type).get("type") == domain_type


def test_the_emulator_is_this_nodes_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/{name}")
    for devices in ("", "<emulator>/usr/bin/kvm</emulator>"):
        assert [item.text for item in adapt(domain(devices)).iter("emulator")] == ["/opt/qemu-system-x86_64"]


def test_an_emulator_that_is_not_found_here_is_left_to_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert adapt(domain()).find("devices/emulator") is None


@pytest.mark.parametrize("mode", ["host-passthrough", "host-model"])
def test_without_kvm_the_hosts_cpu_is_not_asked_for(mode: str) -> None:
    cpu = f"<cpu mode='{mode}' check='none'><topology sockets='1' cores='2' threads='1'/><feature name='vmx'/></cpu>"
    adapted = adapt(domain(more=cpu)).find("cpu")
    assert dict(adapted.attrib) == {}
    assert [child.tag for child in adapted] == ["topology"]
    kept = adapt(domain(more=cpu), "kvm").find("cpu")
    assert kept.get("mode") == mode


def test_a_named_cpu_is_kept() -> None:
    cpu = "<cpu mode='custom' match='exact'><model>Nehalem</model></cpu>"
    assert adapt(domain(more=cpu)).findtext("cpu/model") == "Nehalem"


def test_ceph_is_found_by_its_own_configuration() -> None:
    disk = adapt(domain(DISK)).find("devices/disk")
    assert disk.findall("source/host") == []
    assert disk.find("source/config").get("file") == "/etc/ceph/ceph.conf"
    assert disk.find("auth") is None
    assert disk.find("source").get("name") == "vms/disk"


def test_the_secret_is_the_installations() -> None:
    disk = etree.fromstring(adapt_device(DISK, KEYED))
    assert disk.find("source/config").get("file") == "/etc/ceph/other.conf"
    assert [item.get("username") for item in disk.findall("auth")] == ["pvc"]
    assert disk.find("auth/secret").get("uuid") == KEYED.secret_uuid


def test_other_disks_and_devices_are_left_alone() -> None:
    file = "<disk type='file' device='disk'><source file='/disk'/><target dev='vda'/></disk>"
    card = "<interface type='bridge'><source bridge='vmbr1'/></interface>"
    for device in (file, card):
        assert adapt_device(device, KEYED) == etree.tostring(etree.fromstring(device), encoding="unicode")


@pytest.mark.parametrize(
    ("devices", "kind"),
    [
        ("", "serial"),
        ("<console type='pty'/>", "console"),
        ("<serial type='pty'/><console type='pty'/>", "serial"),
        ("<serial type='pty'><log file='/elsewhere'/></serial>", "serial"),
    ],
)
def test_one_serial_port_is_logged(devices: str, kind: str) -> None:
    logs = list(adapt(domain(devices)).iter("log"))
    assert [(log.getparent().tag, log.get("file"), log.get("append")) for log in logs] == [
        (kind, "/var/log/pvc/console/3c1e.log", "on")
    ]


@pytest.mark.parametrize("xml", ["", "<domain>", "<disk/>"])
def test_what_is_no_domain_is_refused(xml: str) -> None:
    with pytest.raises(BadRequest):
        adapt(xml)
