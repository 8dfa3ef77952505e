"""Changing a machine's libvirt XML."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.domain import parse, parse_device
from pvc_core.model.domain_edit import (
    add_device,
    complete,
    complete_device,
    find_device,
    has_device,
    remove_device,
    set_name,
    set_uuid,
)

DOMAIN = """<?xml version='1.0'?>
<domain type='kvm'><name>web1</name><!-- ours --><memory>1048576</memory><currentMemory>1048576</currentMemory>
<vcpu current='1'>2</vcpu>
<devices><disk type='network'><source protocol='rbd' name='vms/a'/><target dev='sda' bus='scsi'/>
<serial>A1</serial></disk><interface type='bridge'><source bridge='vmbr1'/></interface>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='vmbr2'/></interface>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>"""
DISK = "<disk type='network'><source protocol='rbd' name='vms/b'/><target dev='sdb' bus='scsi'/></disk>"
CARD = "<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='vmbr2'/></interface>"


def test_what_is_missing_is_drawn_from_the_source_alone() -> None:
    done = complete(DOMAIN, Random(1))
    spec = parse(done)
    assert spec.uuid[14] == "4"
    assert spec.networks[0].mac.startswith("52:54:")
    assert spec.networks[1].mac == "52:54:00:00:00:01"
    assert complete(DOMAIN, Random(1)) == done
    assert complete(DOMAIN, Random(2)) != done
    assert complete(done, Random(3)) == done
    assert "<!-- ours -->" in done


def test_a_card_alone_gets_an_address_and_a_disk_none() -> None:
    card = complete_device("<interface type='bridge'><source bridge='vmbr1'/></interface>", Random(1))
    nic = parse_device(card).nic
    assert nic is not None
    assert nic.mac.startswith("52:54:")
    assert complete_device(card, Random(2)) == card
    assert parse_device(complete_device(DISK, Random(1))) == parse_device(DISK)


@given(st.integers())
def test_a_drawn_address_is_that_of_one_card(seed: int) -> None:
    assert parse(complete(DOMAIN, Random(seed))).networks[0].mac  # parse refuses any other


def test_name_and_uuid() -> None:
    uuid = "12345678-abcd-4000-8000-000000000001"
    spec = parse(set_uuid(set_name(DOMAIN, "db<1>"), uuid))
    assert (spec.name, spec.uuid) == ("db<1>", uuid)


@pytest.mark.parametrize("device", [DISK, CARD, "<watchdog model='i6300esb' action='reset'/>"])
def test_a_device_comes_and_goes(device: str) -> None:
    xml = complete(DOMAIN, Random(1))
    assert not has_device(xml, device)
    added = add_device(xml, device)
    assert has_device(added, device)
    assert remove_device(added, device) == xml
    with pytest.raises(Conflict, match=r"the VM has a .* already"):
        add_device(added, device)
    with pytest.raises(NotFound, match="the VM has no"):
        remove_device(xml, device)


def test_a_domain_without_devices_gets_some() -> None:
    assert parse(add_device("<domain><name>a</name><memory>1</memory></domain>", DISK)).volumes == ("vms/b",)


def test_a_disk_is_found_by_its_target_and_a_card_by_its_address() -> None:
    assert "vms/a" in find_device(DOMAIN, "<disk><target dev='sda'/></disk>")
    assert "vmbr2" in find_device(DOMAIN, "<interface><mac address='52:54:00:00:00:01'/></interface>")
    assert "vmbr1" in find_device(DOMAIN, "<interface><source bridge='vmbr1'/></interface>")
    assert "urandom" in find_device(DOMAIN, "<rng model='virtio'/>")
    with pytest.raises(Conflict, match="2 devices of the VM are a network card"):
        find_device(DOMAIN, "<interface type='bridge'/>")


def test_another_disk_on_a_taken_target_is_another_device() -> None:
    other = DISK.replace("sdb", "sda")
    assert not has_device(DOMAIN, other)
    with pytest.raises(Conflict, match="the VM has a disk sda already"):
        add_device(DOMAIN, other)


def test_an_address_is_the_same_in_capitals() -> None:
    xml = add_device(DOMAIN, CARD.replace("00:02", "00:AA"))
    assert has_device(xml, CARD.replace("00:02", "00:aa"))
    assert has_device(xml.replace("00:AA", "00:aa"), CARD.replace("00:02", "00:AA"))
