"""Restoring the configuration: everything comes back, what runs is not touched, and no worker's death changes that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvc_core.errors import PvcError, Unavailable
from pvc_core.model.configuration import Configuration
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, Promotion
from pvc_core.model.network import Network, NetworkType
from pvc_core.model.node import Node, NodeRole
from pvc_core.model.vm import Tag, VmState
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.ops.cluster_restore import ClusterInitialize, ClusterRestore, pack
from pvc_core.rules.restore import obstacles
from pvc_core.state import dump, records
from tests.unit.ops.house import House

LINEAGE = Lineage((Promotion(1, "east", "", False, 0.0),))


@pytest.fixture
def built(house: House) -> House:
    """A stopped machine with a snapshot, a stopped one without, a running one, and a mirrored one."""
    house.define(1)
    house.define(2, tags=(Tag("old"),))
    house.define(3, VmState.START)
    house.lab.advance(5)
    mirrored = house.define(4, VmState.MIRROR)
    house.state.put(records.mirror(mirrored), Mirror(mirrored, "east", MirrorRole.SECONDARY, LINEAGE))
    disks = (SnapshotDisk("vms/disk1", 1),)
    house.lab.client.ensure(records.vm_snapshots(uuid(1)))
    house.state.put(records.vm_snapshot(uuid(1), "s"), VmSnapshot(uuid(1), "s", 1.0, Quiesced.OFF, disks))
    house.state.put(records.vm_snapshot_config(uuid(1), "s"), VmConfig("vm1", "<domain/>"))
    house.lab.cycle()
    return house


def uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def wipe(house: House, *numbers: int) -> None:
    """Remove machines with all their records, as nobody should."""
    for number in numbers:
        vm = house.vm(uuid(number))
        for key in (records.vm_status(vm.uuid), records.vm_xml(vm.uuid), records.vm_name(vm.name), records.vm(vm.uuid)):
            entry: Any = house.state.find(key)  # type: ignore[arg-type]
            if entry is not None:
                house.state.transaction().delete(entry).commit()
    house.lab.cycle()


def restore(house: House, configuration: Configuration, **options: Any) -> dict[str, Any]:
    house.view.settle()
    return dict(house.run(ClusterRestore(pack(configuration)), **options))


def test_what_was_changed_since_comes_back_and_what_was_added_goes(built: House) -> None:
    saved = dump.read(built.state)
    built.change(uuid(2), tags=(Tag("new"),), state=VmState.DISABLE)
    wipe(built, 1)
    built.define(5)
    built.state.put(records.network(200), Network(200, "new", NetworkType.BRIDGED))
    built.state.put(records.network(100), Network(100, "renamed", NetworkType.BRIDGED))
    assert restore(built, saved)["left"] == []
    after = dump.read(built.state)
    assert {name: getattr(after, name) for name in ("vms", "xmls", "networks", "mirrors", "configs", "snapshots")} == {
        name: getattr(saved, name) for name in ("vms", "xmls", "networks", "mirrors", "configs", "snapshots")
    }
    assert "vms/disk5" in after.volumes, "the image is still there, and so is its record"
    assert built.state.store.children(records.VM_NAMES) == ["vm1", "vm2", "vm3", "vm4"]
    assert built.runs_on(uuid(3)) == ["n1"]


def test_an_empty_cluster_becomes_what_the_old_one_was(built: House, tmp_path: Path) -> None:
    saved = dump.read(built.state)
    fresh = House(tmp_path)
    extra = replace(saved, nodes={**saved.nodes, "n9": Node("n9", NodeRole.HYPERVISOR, saved.nodes["n1"].addresses)})
    restore(fresh, extra)
    after = dump.read(fresh.state)
    assert after.vms == saved.vms
    assert after.snapshots == saved.snapshots
    assert after.mirrors == saved.mirrors
    assert after.volumes == saved.volumes
    assert after.nodes["n9"].stopped, "it never came here, and must not be fenced for that"
    assert not after.nodes["n1"].stopped, "it runs"


def test_names_that_were_exchanged_come_back(built: House) -> None:
    saved = dump.read(built.state)
    for number, name in ((1, "vm2"), (2, "vm1")):
        built.change(uuid(number), name=name)
        built.state.put(records.vm_name(name), records.Name(uuid(number)))
    restore(built, saved)
    assert built.state.get(records.vm_name("vm1")).value.uuid == uuid(1)
    assert dump.read(built.state).vms == saved.vms


def test_a_machine_that_came_to_run_meanwhile_keeps_its_definition_and_is_named(built: House) -> None:
    saved = dump.read(built.state)
    wanted = replace(saved, xmls={**saved.xmls, uuid(3): "<domain>other</domain>"})
    result = restore(built, wanted)
    assert result["left"] == ["VM vm3 was redefined while it runs or is mirrored, and stays as it is"]
    assert built.runs_on(uuid(3)) == ["n1"]


def test_a_restore_that_is_done_again_from_the_start_ends_the_same(built: House) -> None:
    saved = dump.read(built.state)
    wipe(built, 1, 2)
    restore(built, saved)
    first = built.picture()
    restore(built, saved, attempt=2)
    assert built.picture() == first


@pytest.mark.parametrize("dies_at", range(0, 24, 3))
def test_a_worker_that_dies_midway_leaves_nothing_that_the_next_one_does_not_complete(
    built: House, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = dump.read(built.state)
    wipe(built, 1, 2)
    built.define(6)
    commits = iter(range(dies_at))

    class Died(BaseException):
        pass

    servers = built.lab.servers
    apply = servers.apply

    def dying(writes: Any, owner: int) -> None:
        if not all(write.path.startswith(records.LOCKS) for write in writes) and next(commits, None) is None:
            raise Died
        apply(writes, owner)

    monkeypatch.setattr(servers, "apply", dying)
    with suppress(Died):
        restore(built, saved)
    monkeypatch.undo()
    restore(built, saved, attempt=2)
    after = dump.read(built.state)
    assert (after.vms, after.xmls, after.snapshots) == (saved.vms, saved.xmls, saved.snapshots)


def test_a_store_that_is_away_for_a_while_is_waited_for(built: House, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = dump.read(built.state)
    wipe(built, 1)
    servers = built.lab.servers
    apply, away = servers.apply, iter(range(5))

    def failing(writes: Any, owner: int) -> None:
        if any(write.path == records.vm(uuid(1)).path for write in writes) and next(away, None) is not None:
            raise Unavailable("no quorum")
        apply(writes, owner)

    monkeypatch.setattr(servers, "apply", failing)
    restore(built, saved)
    monkeypatch.undo()
    assert dump.read(built.state).vms == saved.vms


def test_what_stands_in_the_way_is_named(built: House) -> None:
    saved = dump.read(built.state)
    assert list(obstacles(built.view.snapshot(), saved)) == []
    without = replace(saved, vms={key: vm for key, vm in saved.vms.items() if key not in (uuid(3), uuid(4))})
    assert list(obstacles(built.view.snapshot(), without)) == [
        "VM vm3 runs, and would be removed",
        "VM vm4 is mirrored, and would be removed",
    ]
    other = replace(saved, xmls={**saved.xmls, uuid(3): "<domain/>"})
    assert list(obstacles(built.view.snapshot(), other)) == ["VM vm3 runs, and would be redefined"]
    stopped = replace(saved, vms={**saved.vms, uuid(3): replace(saved.vms[uuid(3)], state=VmState.STOP)})
    assert list(obstacles(built.view.snapshot(), stopped)) == ["VM vm3 runs, and would come into the state stop"]


def test_initialise_leaves_the_nodes_that_run_and_nothing_else(house: House) -> None:
    house.define(1)
    house.stop_daemon("n3")
    house.run(ClusterInitialize())
    after = dump.read(house.state)
    assert after == Configuration(nodes=after.nodes)
    assert sorted(after.nodes) == ["n1", "n2"]
    assert house.state.store.children(records.VM_NAMES) == []


def test_what_is_no_configuration_is_refused(house: House) -> None:
    before = house.picture()
    with pytest.raises(PvcError, match="cannot be read"):
        house.run(ClusterRestore("bm9uc2Vuc2U="))
    assert house.picture() == before
