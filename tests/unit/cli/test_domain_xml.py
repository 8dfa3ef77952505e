"""Changes of a machine's libvirt XML."""

from __future__ import annotations

import pytest

from cli.domain_xml import Domain, bridge_of, device_text, mac_of, volume_of
from cli.errors import CliError

from .documents import XML


def test_what_is_not_touched_stays() -> None:
    text = str(Domain(XML))
    assert "<!-- keep me -->" in text
    assert '<qemu:arg value="-no-hpet" />' in text
    assert 'xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"' in text
    assert str(Domain(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [("<domain>", "not well formed"), ("", "not well formed"), ("<network/>", "XML of a <network>")],
)
def test_what_is_no_domain_is_refused(text: str, says: str) -> None:
    with pytest.raises(CliError, match=says):
        Domain(text)


def test_memory() -> None:
    domain = Domain(XML)
    domain.set_memory(2048)
    assert '<memory unit="MiB">2048</memory>' in str(domain)
    assert "currentMemory" not in str(domain)


def test_vcpus_without_a_topology() -> None:
    domain = Domain(XML)
    domain.set_vcpus(4)
    assert '<vcpu placement="static">4</vcpu>' in str(domain)
    assert "topology" not in str(domain)


def test_vcpus_with_a_topology_that_is_given_and_then_kept_fitting() -> None:
    domain = Domain(XML)
    domain.set_vcpus(8, (2, 2, 2))
    assert '<topology sockets="2" cores="2" threads="2" />' in str(domain)
    domain.set_vcpus(3)
    assert '<topology sockets="1" cores="3" threads="1" />' in str(domain)


def test_new_rbd_disk() -> None:
    disk = Domain("<domain><devices/></domain>").new_disk("vms/first", "rbd", None, None)
    assert device_text(disk) == (
        '<disk type="network" device="disk">\n'
        '  <driver name="qemu" type="raw" discard="unmap" />\n'
        '  <source protocol="rbd" name="vms/first" />\n'
        '  <target dev="vda" bus="virtio" />\n'
        "</disk>"
    )


def test_new_disk_takes_the_bus_of_the_first_and_the_next_free_name() -> None:
    domain = Domain(XML)
    assert domain.new_disk("vms/more", "rbd", None, None).find("target").attrib == {"dev": "sdb", "bus": "scsi"}
    assert domain.new_disk("vms/more", "rbd", "virtio", None).find("target").attrib == {"dev": "vda", "bus": "virtio"}


def test_new_disk_that_is_a_file() -> None:
    file = Domain(XML).new_disk("/srv/image.raw", "file", None, "sdx")
    assert (file.get("type"), volume_of(file), file.find("target").get("dev")) == ("file", "/srv/image.raw", "sdx")


def test_device_names_go_on_after_z() -> None:
    domain = Domain("<domain><devices/></domain>")
    for number in range(27):
        domain.add(domain.new_disk(f"vms/v{number}", "rbd", "virtio", None))
    assert [t.get("dev") for t in domain.root.findall("devices/disk/target")][-2:] == ["vdz", "vdaa"]


def test_a_disk_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(CliError, match="there are vms/web_root"):
        Domain(XML).disk("vms/other")


def test_new_interface() -> None:
    card = Domain(XML).new_interface("vmbr200", "e1000", "52:54:00:AA:BB:CC")
    assert (bridge_of(card), mac_of(card), card.find("model").get("type")) == ("vmbr200", "52:54:00:aa:bb:cc", "e1000")
    assert Domain(XML).new_interface("vmbr200", "virtio", None).find("mac") is None


def test_finding_one_card_of_several() -> None:
    domain = Domain(XML)
    second = domain.new_interface("vmbr100", "virtio", "52:54:00:00:00:02")
    domain.add(second)
    assert domain.interface(None, "52:54:00:00:00:02") is second
    assert domain.interface("vmbr100", "52:54:00:00:00:02") is second
    with pytest.raises(CliError, match=r"several cards.*52:54:00:00:00:01, 52:54:00:00:00:02"):
        domain.interface("vmbr100", None)
    with pytest.raises(CliError, match="no such network card; there are vmbr100"):
        domain.interface("vmbr300", None)
    domain.remove(second)
    assert "52:54:00:00:00:02" not in str(domain)
