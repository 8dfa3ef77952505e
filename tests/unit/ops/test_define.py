"""Define, modify, metadata, tags, rename."""

from __future__ import annotations

from typing import Any

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound, Refused
from pvc_core.model.domain import parse
from pvc_core.model.node import DomainState
from pvc_core.model.vm import MigrationMethod, Selector, Tag, VmSize, VmState
from pvc_core.ops.vm_define import VmDefine, VmModify
from pvc_core.ops.vm_meta import VmMeta, VmRename, VmTag
from pvc_core.state import records
from tests.unit.ops.house import House, Watcher, disk_xml, xml

TAKEN = "00000000-0000-0000-0000-000000000001"


def test_define_writes_the_machine_in_one_transaction(house: House) -> None:
    house.volume("web1_root")
    commits = house.lab.servers.commits
    operation = VmDefine(
        xml(disks=("vms/web1_root",)),
        node="n2",
        node_limit=("n1", "n2"),
        node_selector=Selector.LOAD,
        migration_method=MigrationMethod.LIVE,
        user_tags=("web",),
        protected_tags=("gold",),
        profile="small",
        priority=7,
        affinity=("db",),
        anti_affinity=("web",),
    )
    answer = house.run(operation)
    vm = house.vm(answer["uuid"])
    assert answer["message"] == "VM web1 is defined on node n2"
    assert (vm.name, vm.state, vm.node) == ("web1", VmState.STOP, "n2")
    assert vm.tags == (Tag("web"), Tag("gold", True))
    assert (vm.meta.node_limit, vm.meta.node_selector, vm.meta.profile) == (("n1", "n2"), Selector.LOAD, "small")
    assert (vm.meta.priority, vm.meta.affinity, vm.meta.anti_affinity) == (7, ("db",), ("web",))
    assert vm.size == VmSize(512, 2)
    assert house.state.get(records.vm_name("web1")).value.uuid == vm.uuid
    assert parse(house.state.get(records.vm_xml(vm.uuid)).value).uuid == vm.uuid
    locks_taken, definition, locks_given_back, first_status = 1, 1, 2, 1
    assert house.lab.servers.commits - commits == locks_taken + definition + locks_given_back + first_status


def test_a_machine_without_a_node_gets_the_best_one(house: House) -> None:
    house.set_stats("n3", free=8000)
    assert house.run(VmDefine(xml()))["node"] == "n3"


def test_missing_identities_are_drawn_once_and_stay(house: House) -> None:
    operation = VmDefine(xml().replace("<mac address='52:54:00:00:00:00'/>", ""))
    spec = operation.spec
    assert spec.uuid
    assert spec.networks[0].mac.startswith("52:54:")
    uuid = house.run(operation)["uuid"]
    assert parse(house.state.get(records.vm_xml(uuid)).value) == spec


@pytest.mark.parametrize(
    ("operation", "error", "reason"),
    [
        (lambda: VmDefine("<domain><name>a</domain>"), BadRequest, "not well formed: .*line 1"),
        (lambda: VmDefine(xml("vm1")), Conflict, f"the name vm1 is taken by VM {TAKEN}"),
        (lambda: VmDefine(xml(uuid=TAKEN)), Conflict, "the uuid .* is taken by VM vm1"),
        (lambda: VmDefine(xml("-x")), BadRequest, "'-x' cannot be the name of a VM"),
        (lambda: VmDefine(xml("a/b")), BadRequest, "'a/b' cannot be the name of a VM"),
        (lambda: VmDefine(xml("a" * 101)), BadRequest, "cannot be the name of a VM"),
        (lambda: VmDefine(xml(disks=("vms/none",))), BadRequest, "disk sda: there is no volume vms/none"),
        (lambda: VmDefine(xml(disks=("vms/disk1",))), Conflict, "volume vms/disk1 is a disk of VM vm1 already"),
        (lambda: VmDefine(xml(networks=(200,))), BadRequest, r"there is no network 200 \(bridge vmbr200\)"),
        (lambda: VmDefine(xml(memory=8193)), Conflict, "8193 MiB of memory, and the largest node 8192 MiB"),
        (lambda: VmDefine(xml(), node="n9"), NotFound, "there is no node 'n9'"),
        (lambda: VmDefine(xml(), node="n3"), Conflict, "node n3 cannot take the machine: it is not ready"),
        (lambda: VmDefine(xml(), node_limit=("n9",)), NotFound, "there is no node 'n9'"),
        (lambda: VmDefine(xml(), node="n2", node_limit=("n1",)), Conflict, "limit"),
        (lambda: VmDefine(xml(), migration_max_downtime=0), BadRequest, "migration_max_downtime is in milliseconds"),
        (lambda: VmDefine(xml(), user_tags=("a b",)), BadRequest, "'a b' cannot be the name of a tag"),
        (lambda: VmDefine(xml(), priority=101), BadRequest, "priority must be from 0 to 100, not 101"),
        (lambda: VmDefine(xml(), priority=-1), BadRequest, "priority must be from 0 to 100, not -1"),
        (lambda: VmDefine(xml(), affinity=("a b",)), BadRequest, "'a b' cannot be the name of a tag"),
        (lambda: VmDefine(xml(), affinity=("a",), anti_affinity=("a",)), BadRequest, "the tag a cannot be in both"),
    ],
)
def test_define_refuses(house: House, operation: Any, error: type[Refused], reason: str) -> None:
    house.define(1)
    house.set_domain_state("n3", DomainState.FLUSHED)
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(operation())
    assert house.picture() == before


def test_a_large_machine_goes_to_a_node_that_could_run_it(house: House) -> None:
    house.set_stats("n2", memory=16384, free=100)
    assert house.run(VmDefine(xml(memory=9000)))["node"] == "n2"
    with pytest.raises(Conflict, match=r"it is too small \(8192 MiB in all, 9000 MiB needed\)"):
        house.run(VmDefine(xml("web2", memory=9000), node="n1"))


def test_a_disk_may_be_shared_when_both_say_so(house: House) -> None:
    house.volume("shared")
    for name in ("web1", "web2"):
        domain = xml(name).replace("<devices>", f"<devices>{disk_xml('vms/shared', extra='<shareable/>')}")
        house.run(VmDefine(domain))
    with pytest.raises(Conflict, match=r"volume vms/shared is a disk of VM web[12] already"):
        house.run(VmDefine(xml("web3", disks=("vms/shared",))))


def test_a_name_taken_between_check_and_write_is_a_refusal(house: House) -> None:
    operation = VmDefine(xml())
    watcher = Watcher(house)
    watcher.report = lambda *_: house.state.put(records.vm_name("web1"), records.Name("other"))  # type: ignore
    with pytest.raises(Conflict, match="the name web1 was taken just now"):
        house.run(operation, watcher=watcher)


def stored(house: House, uuid: str) -> str:
    return house.state.get(records.vm_xml(uuid)).value


def test_modify_of_a_running_machine_waits_for_its_restart(house: House) -> None:
    uuid = house.define(1, VmState.START)
    new = stored(house, uuid).replace(">512<", ">1024<")
    answer = house.run(VmModify(uuid, new))
    assert answer["message"] == "VM vm1 is changed; it applies when the VM is restarted"
    assert parse(stored(house, uuid)).memory == 1024
    assert house.vm(uuid).size == VmSize(1024, 2)
    assert house.hypervisor("n1").started == [uuid]


def test_modify_with_restart(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.run(VmModify(uuid, stored(house, uuid).replace(">512<", ">1024<"), restart=True))
    assert parse(house.hypervisor("n1").guests[uuid].xml).memory == 1024


def test_a_definition_that_does_not_start_is_taken_back_and_the_old_one_runs(house: House) -> None:
    uuid = house.define(1, VmState.START)
    host = house.hypervisor("n1")
    start = host.start

    def choosy(domain: str) -> Any:
        host.start_error = "too much memory" if parse(domain).memory == 1024 else ""
        return start(domain)

    host.start = choosy  # type: ignore[method-assign]
    before = house.picture()
    with pytest.raises(Failed, match="too much memory") as caught:
        house.run(VmModify(uuid, stored(house, uuid).replace(">512<", ">1024<"), restart=True))
    house.lab.advance(10)
    assert caught.value.left == ()
    assert house.picture() == before


def test_a_cancelled_modify_is_taken_back(house: House) -> None:
    uuid = house.define(1, VmState.START)
    house.hypervisor("n1").deaf.add(uuid)
    before = house.picture()
    new = stored(house, uuid).replace(">512<", ">1024<")
    with pytest.raises(Cancelled):
        house.run(VmModify(uuid, new, restart=True), watcher=Watcher(house, cancel_at="Restarting"))
    house.lab.advance(40)
    assert house.picture() == before


def test_modify_fills_in_the_uuid(house: House) -> None:
    uuid = house.define(1)
    house.run(VmModify(uuid, xml("vm1")))
    assert parse(stored(house, uuid)).uuid == uuid


@pytest.mark.parametrize(
    ("new", "error", "reason"),
    [
        (xml("vm1", uuid="00000000-0000-0000-0000-000000000009"), BadRequest, "the XML has the uuid"),
        (xml("other"), BadRequest, "rename VM vm1 with the rename command"),
        (xml("vm1", disks=("vms/none",)), BadRequest, "there is no volume vms/none"),
        (xml("vm1", disks=("vms/disk2",)), Conflict, "volume vms/disk2 is a disk of VM vm2 already"),
        (xml("vm1", networks=(200,)), BadRequest, "there is no network 200"),
        (xml("vm1", memory=9000), Conflict, "9000 MiB of memory"),
    ],
)
def test_modify_refuses(house: House, new: str, error: type[Refused], reason: str) -> None:
    uuid = house.define(1)
    house.define(2)
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(VmModify(uuid, new))
    assert house.picture() == before


def test_meta_changes_what_is_given(house: House) -> None:
    uuid = house.define(1)
    house.run(VmMeta(uuid, node_autostart=True, node_limit=("n1",)))
    house.run(VmMeta(uuid, node_limit=(), profile="big"))
    meta = house.vm(uuid).meta
    assert (meta.node_autostart, meta.node_limit, meta.profile, meta.migration_max_downtime) == (True, (), "big", 300)
    house.run(VmMeta(uuid, priority=9, affinity=("db",), anti_affinity=("web",)))
    house.run(VmMeta(uuid, affinity=()))
    meta = house.vm(uuid).meta
    assert (meta.priority, meta.affinity, meta.anti_affinity, meta.profile) == (9, (), ("web",), "big")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"node_limit": ("n9",)}, NotFound),
        ({"migration_max_downtime": -5}, BadRequest),
        ({"priority": 101}, BadRequest),
        ({"anti_affinity": ("a b",)}, BadRequest),
    ],
)
def test_meta_refuses(house: House, fields: dict[str, Any], error: type[Refused]) -> None:
    uuid = house.define(1)
    before = house.picture()
    with pytest.raises(error):
        house.run(VmMeta(uuid, **fields))
    assert house.picture() == before


def test_a_write_of_the_node_in_between_is_no_reason_to_fail(house: House) -> None:
    uuid = house.define(1, VmState.START)
    watcher = Watcher(house)
    watcher.report = lambda *_: house.change(uuid, state=VmState.STOP)  # type: ignore[method-assign]
    house.run(VmTag(uuid, "add", "web"), watcher=watcher)
    assert (house.vm(uuid).state, house.vm(uuid).tags) == (VmState.STOP, (Tag("web"),))


def test_tags(house: House) -> None:
    uuid = house.define(1)
    house.run(VmTag(uuid, "add", "web"))
    house.run(VmTag(uuid, "add", "gold", protected=True))
    with pytest.raises(Conflict, match="has the tag web already"):
        house.run(VmTag(uuid, "add", "web"))
    with pytest.raises(Conflict, match="the tag gold of VM vm1 is protected"):
        house.run(VmTag(uuid, "remove", "gold"))
    with pytest.raises(NotFound, match="VM vm1 has no tag blue"):
        house.run(VmTag(uuid, "remove", "blue"))
    with pytest.raises(BadRequest):
        VmTag(uuid, "change", "web").check(house.view.snapshot())  # type: ignore[arg-type]
    house.run(VmTag(uuid, "remove", "web"))
    assert house.vm(uuid).tags == (Tag("gold", True),)


def test_rename_changes_the_index_the_record_and_the_xml(house: House) -> None:
    uuid = house.define(1)
    house.run(VmRename(uuid, "web1"))
    assert house.vm(uuid).name == "web1"
    assert parse(stored(house, uuid)).name == "web1"
    assert house.view.snapshot().vm_names == {"web1": uuid}


@pytest.mark.parametrize(
    ("name", "state", "error", "reason"),
    [
        ("vm2", VmState.STOP, Conflict, "the name vm2 is taken"),
        ("vm1", VmState.STOP, Conflict, "has that name already"),
        ("a b", VmState.STOP, BadRequest, "cannot be the name"),
        ("web1", VmState.START, Conflict, "must be stopped to be renamed"),
    ],
)
def test_rename_refuses(house: House, name: str, state: VmState, error: type[Refused], reason: str) -> None:
    uuid = house.define(1, state)
    house.define(2)
    before = house.picture()
    with pytest.raises(error, match=reason):
        house.run(VmRename(uuid, name))
    assert house.picture() == before
