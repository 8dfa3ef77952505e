"""Reading a machine's libvirt XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.errors import BadRequest
from pvc_core.model.domain import (
    MAX_LENGTH,
    Controller,
    DeviceSpec,
    Disk,
    DomainSpec,
    Nic,
    parse,
    parse_device,
)

FULL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>web1</name>
  <uuid>12345678-ABCD-4000-8000-000000000001</uuid>
  <description>Der Webserver für alle</description>
  <memory unit="GiB">2</memory>
  <vcpu placement="static">8</vcpu>
  <cpu><topology sockets="2" cores="2" threads="2"/></cpu>
  <os><type arch="x86_64" machine="pc-i440fx-7.2">hvm</type><boot dev="hd"/></os>
  <features><acpi/><!-- no power button without it --><apic/><pae/></features>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <controller type="usb" index="0"/>
    <console type="pty"/>
    <graphics type="spice" port="1"/>
    <graphics type="vnc" port="-1" listen="0.0.0.0"/>
    <disk type="network" device="disk">
      <source protocol="rbd" name="vms/web1_root"><host name="mon" port="6789"/></source>
      <target dev="sda" bus="scsi"/>
    </disk>
    <disk type="file" device="cdrom"><source file="/srv/a.iso"/><target dev="sdb" bus="sata"/><readonly/></disk>
    <disk type="block" device="disk"><source dev="/dev/sdx"/><target dev="vda" bus="virtio"/><shareable/></disk>
    <disk type="file" device="cdrom"><target dev="sdc" bus="sata"/></disk>
    <interface type="bridge">
      <mac address="52:54:00:AA:BB:CC"/><source bridge="vmbr100"/><model type="virtio"/>
    </interface>
    <interface type="direct"><source dev="eno1" mode="bridge"/></interface>
    <interface type="bridge"><source bridge="br0"/></interface>
  </devices>
</domain>"""


def small(inner: str = "", memory: str = '<memory unit="MiB">512</memory>', name: str = "<name>a</name>") -> str:
    return f"<domain type='kvm'>{name}{memory}{inner}</domain>"


def test_everything_that_is_shown_is_read() -> None:
    assert parse(FULL) == DomainSpec(
        uuid="12345678-abcd-4000-8000-000000000001",
        name="web1",
        description="Der Webserver für alle",
        type="kvm",
        memory=2048,
        vcpu=8,
        topology="2/2/2",
        arch="x86_64",
        machine="pc-i440fx-7.2",
        emulator="/usr/bin/kvm",
        features=("acpi", "apic", "pae"),
        controllers=(Controller("scsi", "virtio-scsi"), Controller("usb", "")),
        console="pty",
        vnc_listen="0.0.0.0",
        vnc_port="-1",
        disks=(
            Disk("sda", "scsi", "rbd", "vms/web1_root"),
            Disk("sdb", "sata", "file", "/srv/a.iso", readonly=True),
            Disk("vda", "virtio", "block", "/dev/sdx", shareable=True),
            Disk("sdc", "sata", "file", ""),
        ),
        networks=(
            Nic("52:54:00:aa:bb:cc", "virtio", "bridge", "vmbr100", 100),
            Nic("", "", "direct", "eno1"),
            Nic("", "", "bridge", "br0"),
        ),
    )
    assert parse(FULL).volumes == ("vms/web1_root",)


def test_little_is_enough() -> None:
    spec = parse(small())
    assert (spec.uuid, spec.vcpu, spec.topology, spec.features, spec.disks) == ("", 1, "1/1/1", (), ())


@pytest.mark.parametrize(
    ("memory", "mib"),
    [
        ("<memory>1048576</memory>", 1024),
        ('<memory unit="KiB">1025</memory>', 2),
        ('<memory unit="k">2048</memory>', 2),
        ('<memory unit="KB">1000</memory>', 1),
        ('<memory unit="bytes">1048576</memory>', 1),
        ('<memory unit="b">1048577</memory>', 2),
        ('<memory unit="MB">1000</memory>', 954),
        ('<memory unit="M">3</memory>', 3),
        ('<memory unit="g"> 1 </memory>', 1024),
        ('<memory unit="TiB">1</memory>', 1048576),
    ],
)
def test_memory_has_libvirts_units(memory: str, mib: int) -> None:
    assert parse(small(memory=memory)).memory == mib


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("", "not well formed"),
        ("<domain>\n<name>a</nome></domain>", "not well formed: .*line 2"),
        ("\x00", "not well formed"),
        ("<domain>\ud800</domain>", "not Unicode text"),
        ("<disk/>", "the domain XML holds <disk>, and <domain> is wanted"),
        ("<!DOCTYPE domain [<!ENTITY x 'y'>]><domain/>", "document type declaration"),
        (" " * (MAX_LENGTH + 1), "and may have 524288"),
        (small(name=""), "line 1: <domain> needs a <name>"),
        (small(memory=""), "<domain> needs a <memory>"),
        (small(memory="<memory>many</memory>"), "memory must be a positive whole number, not 'many'"),
        (small(memory="<memory>0</memory>"), "memory must be a positive whole number"),
        (small(memory="<memory>٣</memory>"), "memory must be a positive whole number"),
        (small(memory='<memory unit="XB">1</memory>'), "unknown unit of memory 'XB': use KiB, MiB or GiB"),
        (small("\n\n<vcpu>-1</vcpu>"), "line 3: vcpu must be a positive whole number, not '-1'"),
        (small("<uuid>12</uuid>"), "'12' is not a uuid"),
        (small("<devices><disk type='file'/></devices>"), "<disk> needs a <target"),
        (
            small(
                "<devices><disk type='network'><source protocol='rbd' name='a'/><target dev='sda'/></disk></devices>"
            ),
            "like \"pool/volume\", not 'a'",
        ),
        (
            small("<devices>" + "<disk type='file'><target dev='sda'/></disk>" * 2 + "</devices>"),
            "two disks have the target sda",
        ),
        (
            small(
                "<devices>"
                + "".join(
                    f"<disk type='network'><source protocol='rbd' name='p/v'/><target dev='{dev}'/></disk>"
                    for dev in ("sda", "sdb")
                )
                + "</devices>"
            ),
            "the volume p/v is named twice",
        ),
        (
            small("<devices><interface type='bridge'><mac address='x'/></interface></devices>"),
            "'x' is not a MAC address",
        ),
        (
            small("<devices><interface type='bridge'><mac address='53:54:00:00:00:01'/></interface></devices>"),
            "of one card",
        ),
        (
            small("<devices>" + "<interface><mac address='52:54:00:00:00:01'/></interface>" * 2 + "</devices>"),
            "two network cards have the address 52:54:00:00:00:01",
        ),
    ],
)
def test_what_is_wrong_is_said(xml: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse(xml)


def test_entities_and_files_are_never_read() -> None:
    bomb = "<!DOCTYPE domain [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><domain><name>&b;</name></domain>"
    with pytest.raises(BadRequest, match="document type"):
        parse(bomb)
    with pytest.raises(BadRequest):
        parse("<domain xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='/etc/passwd'/></domain>")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"<domain>{text}</domain>", small(text), small(name=f"<name>{text}</name>")):
        try:
            parse(candidate)
        except BadRequest as error:
            assert str(error)  # noqa: PT017


def test_a_device_alone() -> None:
    disk = "<disk type='network'><source protocol='rbd' name='a/b'/><target dev='sdb'/></disk>"
    assert parse_device(disk) == DeviceSpec("disk", disk=Disk("sdb", "", "rbd", "a/b"))
    assert parse_device("<interface type='bridge'><source bridge='vmbr7'/></interface>").nic == Nic(
        "", "", "bridge", "vmbr7", 7
    )
    assert parse_device("<rng model='virtio'/>") == DeviceSpec("rng")
    with pytest.raises(BadRequest, match="one device, such as <disk> or <interface>"):
        parse_device(small())
