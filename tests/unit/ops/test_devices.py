"""Attach, detach, flush-locks, undefine, remove."""

from __future__ import annotations

import pytest

from pvc_core.errors import BadRequest, Conflict, DriverError, Failed, NotFound, Refused
from pvc_core.model.domain import parse
from pvc_core.model.vm import VmState
from pvc_core.ops.vm_devices import VmAttach, VmDetach, VmFlushLocks
from pvc_core.ops.vm_remove import VmRemove, VmUndefine
from pvc_core.ports import Locker
from pvc_core.state import records
from tests.unit.ops.house import House, card_xml, disk_xml, xml


def stored(house: House, uuid: str) -> list[str]:
    spec = parse(house.state.get(records.vm_xml(uuid)).value)
    return [*(disk.dev for disk in spec.disks), *(nic.mac for nic in spec.networks)]


def live(house: House, uuid: str) -> list[str]:
    spec = parse(house.hypervisor("n1").guests[uuid].xml)
    return [*(disk.dev for disk in spec.disks), *(nic.mac for nic in spec.networks)]


MAC = "52:54:00:00:00:00"
NEW = "52:54:00:aa:bb:cc"


def test_a_device_is_plugged_in_and_stored(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.volume("data")
    house.run(VmAttach(uuid, disk_xml("vms/data")))
    house.run(VmAttach(uuid, card_xml(mac=NEW)))
    assert stored(house, uuid) == live(house, uuid) == ["sda", "sdb", MAC, NEW]


def test_of_a_machine_that_is_off_the_definition_is_changed(house: House) -> None:
    uuid = house.define(1)
    operation = VmAttach(uuid, card_xml())
    house.run(operation)
    assert len(stored(house, uuid)) == 3
    house.run(VmDetach(uuid, operation.xml))
    assert stored(house, uuid) == ["sda", MAC]


def test_what_the_definition_has_already_is_only_plugged_in(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").detach(uuid, card_xml(mac=MAC), 1)
    house.run(VmAttach(uuid, card_xml(mac=MAC)))
    assert stored(house, uuid) == live(house, uuid) == ["sda", MAC]


def test_a_device_is_unplugged_and_forgotten(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmDetach(uuid, "<disk><target dev='sda'/></disk>"))
    assert stored(house, uuid) == live(house, uuid) == [MAC]


@pytest.mark.parametrize("gone", ["guest", "definition"])
def test_a_device_that_one_of_the_two_lacks_is_taken_from_the_other(house: House, gone: str) -> None:
    uuid = house.define(1, VmState.START)
    if gone == "guest":
        house.hypervisor("n1").detach(uuid, card_xml(mac=MAC), 1)
    else:
        house.state.put(records.vm_xml(uuid), xml("vm1", uuid=uuid, disks=("vms/disk1",), networks=()))
    house.run(VmDetach(uuid, card_xml(mac=MAC)))
    assert stored(house, uuid) == live(house, uuid) == ["sda"]


def test_a_device_that_cannot_be_plugged_in_is_not_stored(house: House) -> None:
    uuid = house.define(1, VmState.START)
    host = house.hypervisor("n1")

    def refuse(uuid: str, xml: str) -> None:
        raise DriverError("no more PCI slots")

    host.attach = refuse  # type: ignore[method-assign]
    before = house.picture()
    with pytest.raises(Failed, match="no more PCI slots") as caught:
        house.run(VmAttach(uuid, card_xml(mac=NEW)))
    assert caught.value.left == ()
    assert house.picture() == before


def test_a_guest_that_does_not_let_go_keeps_its_device(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").clinging.add(uuid)
    before = house.picture()
    with pytest.raises(Failed, match="did not let go"):
        house.run(VmDetach(uuid, card_xml(mac=MAC)))
    assert house.picture() == before


@pytest.mark.parametrize(
    ("device", "error", "reason"),
    [
        ("<disk", BadRequest, "the device XML is not well formed"),
        ("<domain/>", BadRequest, "<domain>, and one device"),
        (disk_xml("vms/none"), BadRequest, "disk sdb: there is no volume vms/none"),
        (disk_xml("vms/disk2"), Conflict, "volume vms/disk2 is a disk of VM vm2 already"),
        (disk_xml("vms/data", "sda"), Conflict, "the VM has a disk sda already"),
        (card_xml(200), BadRequest, "there is no network 200"),
        (card_xml(mac=MAC).replace("virtio", "e1000"), Conflict, f"the VM has a network card {MAC} already"),
    ],
)
def test_attach_refuses(house: House, device: str, error: type[Refused], reason: str) -> None:
    uuid = house.define(1, VmState.START)
    house.define(2)
    house.volume("data")
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(VmAttach(uuid, device))
    assert house.picture() == before


@pytest.mark.parametrize("state", [VmState.START, VmState.STOP])
def test_detach_of_a_device_that_is_nowhere(house: House, state: VmState) -> None:
    uuid = house.define(1, state)
    before = house.picture()
    with pytest.raises(NotFound, match="no disk sdx"):
        house.run(VmDetach(uuid, "<disk><target dev='sdx'/></disk>"))
    assert house.picture() == before


def test_a_machine_that_moved_while_the_task_waited(house: House) -> None:
    uuid = house.define(1, VmState.START)
    with pytest.raises(Conflict, match="runs on node n1 meanwhile"):
        house.run(VmAttach(uuid, card_xml(mac=NEW)), node="n2")


def test_flush_locks_breaks_them(house: House) -> None:
    uuid = house.define(1)
    house.blocks.image("vms", "disk1").lockers += [Locker("client.1", "10.0.0.9"), Locker("client.2", "10.0.0.9")]
    assert house.run(VmFlushLocks(uuid)) == {"message": "2 locks are broken", "broken": 2}
    assert house.blocks.lockers("vms", "disk1") == []


def test_the_locks_of_a_running_machine_stay(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.blocks.image("vms", "disk1").lockers.append(Locker("client.1", "10.0.0.9"))
    with pytest.raises(Conflict, match="runs on node n1, and needs its locks"):
        house.run(VmFlushLocks(uuid))
    assert house.blocks.lockers("vms", "disk1") == [Locker("client.1", "10.0.0.9")]


def test_undefine_stops_and_forgets_and_keeps_the_disks(house: House) -> None:
    before = house.picture()["tree"]
    uuid = house.define(1, VmState.START)
    house.run(VmUndefine(uuid))
    assert house.runs_on(uuid) == []
    assert house.picture()["tree"].keys() == {*before, "/pvc/volumes/vms/disk1"}
    assert house.blocks.volumes("vms") == ["disk1"]


def test_remove_takes_the_disks_too(house: House) -> None:
    before = house.picture()
    uuid = house.define(1, VmState.START)
    assert house.run(VmRemove(uuid))["volumes"] == ["vms/disk1"]
    assert house.picture() == before


def test_remove_goes_on_where_a_dead_worker_left_it(house: House) -> None:
    before = house.picture()
    uuid = house.define(1, VmState.DISABLE)
    house.blocks.remove("vms", "disk1")
    house.run(VmRemove(uuid), attempt=2)
    assert house.picture() == before


def test_a_disk_that_is_let_go_late_is_waited_for(house: House) -> None:
    uuid = house.define(1, VmState.START)
    image = house.blocks.image("vms", "disk1")
    image.watchers.append("10.0.0.1:0/1")
    due = house.lab.clock.now() + 30
    cycle = house.lab.cycle

    def expire(times: int = 4) -> None:
        if house.lab.clock.now() >= due:
            image.watchers.clear()
        cycle(times)

    house.lab.cycle = expire  # type: ignore[method-assign]
    house.run(VmRemove(uuid))
    assert house.blocks.volumes("vms") == []


@pytest.mark.parametrize("why", ["shared", "snapshots"])
def test_remove_refuses_disks_that_others_need(house: House, why: str) -> None:
    uuid = house.define(1, VmState.START)
    if why == "shared":
        other = house.define(2)
        house.state.put(records.vm_xml(other), xml("vm2", uuid=other, disks=("vms/disk1",)))
    else:
        house.volume_snapshot("disk1", "one")
    before = house.picture()
    with pytest.raises(Conflict, match=r"volume vms/disk1 is a disk of VM vm2|of their own \(vms/disk1@one\)"):
        house.run(VmRemove(uuid))
    assert house.picture() == before
