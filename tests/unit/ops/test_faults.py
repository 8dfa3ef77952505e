"""Each call of a port fails once, in each way, in each operation: what was begun is undone, or said to be left. What a
killed worker left is completed by the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pvc_core.errors import DriverError, DriverUnavailable, Failed, PvcError, Unavailable
from pvc_core.model.fault import Finding, raised
from pvc_core.model.network import NetworkType
from pvc_core.model.vm import MigrationMethod, VmMeta, VmState
from pvc_core.ops.base import Operation
from pvc_core.ops.fault import FaultAcknowledge, FaultDelete
from pvc_core.ops.network import NetworkCreate, NetworkModify, NetworkRemove
from pvc_core.ops.node import NodeFlush, NodeReady
from pvc_core.ops.pool import PoolCreate, PoolRemove, PoolSetPgs
from pvc_core.ops.primary import NodePrimary
from pvc_core.ops.vm_define import VmDefine, VmModify
from pvc_core.ops.vm_devices import VmAttach, VmDetach, VmFlushLocks
from pvc_core.ops.vm_meta import VmMeta as VmMetaOperation
from pvc_core.ops.vm_meta import VmRename, VmTag
from pvc_core.ops.vm_migrate import VmMigrate, VmMove, VmUnmigrate
from pvc_core.ops.vm_power import VmDisable, VmRestart, VmShutdown, VmStart, VmStop
from pvc_core.ops.vm_remove import VmRemove, VmUndefine
from pvc_core.ops.volume import VolumeClone, VolumeCreate, VolumeRemove, VolumeRename, VolumeResize, VolumeScan
from pvc_core.ops.volume_import import VolumeImport
from pvc_core.ports import Locker
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from tests.unit.ops.house import GIB, House, card_xml, disk_xml, xml

BY_SHUTDOWN = VmMeta(migration_method=MigrationMethod.SHUTDOWN)
LIVE_ONLY = VmMeta(migration_method=MigrationMethod.LIVE)
NOT_FAILING = {"close", "on_session", "on_change", "mirror", "settle"}


class KilledError(BaseException):
    """The worker's process ends here."""


@dataclass
class Fault:
    """What happens at the call number ``at`` of all calls of an operation to its ports; counting starts at 0."""

    at: int
    kind: str  # before, after (the call had its effect), broken (it cannot be done), killed before, killed after
    calls: int = 0
    struck: str = ""

    def call(self, name: str, function: Callable[..., Any], unavailable: type[PvcError], args: Any, kwargs: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if number != self.at:
            return function(*args, **kwargs)
        self.struck = name
        error: BaseException = KilledError() if self.kind.startswith("killed") else unavailable("no answer")
        if self.kind == "broken":
            error = DriverError("this cannot be done") if unavailable is DriverUnavailable else error
        if self.kind.endswith("after"):
            function(*args, **kwargs)
        raise error


class Faulty:
    """A port whose calls go through a fault."""

    def __init__(self, port: Any, fault: Fault, unavailable: type[PvcError]) -> None:
        self._port, self._fault, self._unavailable = port, fault, unavailable

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not callable(attribute) or name in NOT_FAILING:
            return attribute
        return lambda *args, **kwargs: self._fault.call(name, attribute, self._unavailable, args, kwargs)


def vm(number: int = 1) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def image(house: House) -> str:
    path = house.spool / "image"
    path.write_bytes(b"boot")
    return str(path)


def on_n2(house: House) -> Operation:
    house.run(VmMigrate(vm(), "n2"))
    return VmUnmigrate(vm())


def by_shutdown(house: House) -> Operation:
    house.change(vm(), meta=BY_SHUTDOWN)
    return VmMigrate(vm(), "n2")


def live_only(house: House) -> Operation:
    house.change(vm(), meta=LIVE_ONLY)
    return VmMove(vm(), "n2")


def flushed(house: House) -> Operation:
    house.run(NodeFlush("n1"))
    return NodeReady("n1")


def locked(house: House) -> Operation:
    house.blocks.image("vms", "disk2").lockers.append(Locker("client.1", "10.0.0.9"))
    return VmFlushLocks(vm(2))


def changed_xml(house: House, restart: bool) -> Operation:
    old = house.state.get(records.vm_xml(vm())).value
    return VmModify(vm(), old.replace(">512<", ">1024<"), restart=restart)


def fault(house: House) -> str:
    finding = Finding("vm-failed:1", "", 10, "VM vm1: no disk")
    house.state.put(records.fault(finding.id), raised(finding, 1.0, 1.0))
    return finding.id


# Machine 1 runs on n1, machine 2 is off; volumes a and b (b of machine 2's size) are free.
OPERATIONS: dict[str, Callable[[House], Operation]] = {
    "define": lambda house: VmDefine(xml("web1", uuid=vm(7), disks=("vms/a",)), node="n2"),
    "modify": lambda house: changed_xml(house, restart=False),
    "modify and restart": lambda house: changed_xml(house, restart=True),
    "meta": lambda house: VmMetaOperation(vm(), node_autostart=True),
    "tag": lambda house: VmTag(vm(), "add", "web"),
    "rename": lambda house: VmRename(vm(2), "web1"),
    "start": lambda house: VmStart(vm(2)),
    "stop": lambda house: VmStop(vm()),
    "shutdown": lambda house: VmShutdown(vm()),
    "restart": lambda house: VmRestart(vm()),
    "disable": lambda house: VmDisable(vm()),
    "disable by force": lambda house: VmDisable(vm(), force=True),
    "undefine": lambda house: VmUndefine(vm()),
    "remove": lambda house: VmRemove(vm()),
    "migrate": lambda house: VmMigrate(vm(), "n2"),
    "migrate by shutdown": by_shutdown,
    "migrate what is off": lambda house: VmMigrate(vm(2), "n2"),
    "move": live_only,
    "unmigrate": on_n2,
    "attach": lambda house: VmAttach(vm(), disk_xml("vms/a")),
    "attach to what is off": lambda house: VmAttach(vm(2), card_xml(mac="52:54:00:aa:bb:cc")),
    "detach": lambda house: VmDetach(vm(), card_xml(mac="52:54:00:00:00:00")),
    "flush locks": locked,
    "flush": lambda house: NodeFlush("n1"),
    "ready": flushed,
    "primary": lambda house: NodePrimary("n2"),
    "volume create": lambda house: VolumeCreate("vms", "new", GIB),
    "volume resize": lambda house: VolumeResize("vms", "a", 2 * GIB),
    "volume rename": lambda house: VolumeRename("vms", "a", "new"),
    "volume clone": lambda house: VolumeClone("vms", "a", "new"),
    "volume remove": lambda house: VolumeRemove("vms", "a"),
    "volume scan": lambda house: VolumeScan("vms", "a"),
    "volume import": lambda house: VolumeImport("vms", "new", image(house), "raw", "n1"),
    "volume import over": lambda house: VolumeImport("vms", "a", image(house), "raw", "n1"),
    "pool create": lambda house: PoolCreate("fast", 64, 3, 2),
    "pool set pgs": lambda house: PoolSetPgs("vms", 64),
    "pool remove": lambda house: PoolRemove("empty"),
    "fault acknowledge": lambda house: FaultAcknowledge(fault(house)),
    "faults delete": lambda house: fault(house) and FaultDelete(),
    "network create": lambda house: NetworkCreate(200, "lab", NetworkType.BRIDGED),
    "network modify": lambda house: NetworkModify(100, "new"),
    "network remove": lambda house: NetworkRemove(300),
}
# What is wanted stands once it is written, or what was removed cannot come back: these go on instead of back.
GO_ON = {
    "stop",
    "disable",
    "disable by force",
    "undefine",
    "remove",
    "flush",
    "ready",
    "flush locks",
    "volume remove",
    "pool remove",
}


class World:
    """A house with one operation to be done in it, made anew for each fault."""

    def __init__(self, spool: Any, name: str) -> None:
        self.house = House(spool)
        self.house.define(1, VmState.START)
        self.house.define(2)
        self.house.volume("a")
        self.house.run(PoolCreate("empty", 8, 3, 2))
        self.house.run(NetworkCreate(300, "unused", NetworkType.BRIDGED))
        self.operation = OPERATIONS[name](self.house)
        self.node = self.operation.worker_node(self.house.view.snapshot()) or "n1"
        self.before = self.house.picture()

    def run(self, fault: Fault | None = None, attempt: int = 1) -> None:
        tools: dict[str, Any] = {}
        if fault is not None:
            tools["blocks"] = Faulty(self.house.blocks, fault, DriverUnavailable)
            tools["hypervisor"] = Faulty(self.house.hypervisor(self.node), fault, DriverUnavailable)
            store = self.house.lab.servers.connect()
            tools["state"] = ClusterState(Faulty(store, fault, Unavailable))  # type: ignore[arg-type]
        try:
            self.house.run(self.operation, node=self.node, attempt=attempt, **tools)
        finally:
            if fault is not None:
                store.close()
            self.house.lab.advance(6)

    def picture(self) -> Any:
        return self.house.picture()


@pytest.fixture
def world(tmp_path: Any) -> Callable[[str], World]:
    return lambda name: World(tmp_path, name)


def finished(world: World) -> tuple[Any, int]:
    """How it looks when all goes well, and how many calls that takes."""
    fault = Fault(-1, "none")
    world.run(fault)
    return world.picture(), fault.calls


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", ["before", "after", "broken"])
def test_a_call_that_fails(world: Callable[[str], World], name: str, kind: str) -> None:
    wanted, calls = finished(world(name))
    assert calls > 2
    for at in range(calls):
        one, fault = world(name), Fault(at, kind)
        ended = "succeeded"
        try:
            one.run(fault)
            wanted_now = wanted
        except Failed as error:
            ended, wanted_now = f"{error} {error.left}", None if error.left or name in GO_ON else one.before
        except PvcError as error:
            ended, wanted_now = f"refused: {error}", one.before
        if wanted_now is not None:
            assert one.picture() == wanted_now, f"{name}, call {at} ({fault.struck}) {kind}: {ended}"
        assert one.house.lab.rack.running(vm()) in ([], ["n1"], ["n2"], ["n3"])
        if name in GO_ON:
            one.run(attempt=2)
            assert one.picture() == wanted, f"{name} again after call {at} ({fault.struck}) {kind}"


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", ["killed before", "killed after"])
def test_a_worker_that_is_killed(world: Callable[[str], World], name: str, kind: str) -> None:
    wanted, calls = finished(world(name))
    for at in range(calls):
        one, fault = world(name), Fault(at, kind)
        if not one.operation.resumable:
            return
        with pytest.raises(KilledError):
            one.run(fault)
        one.house.lab.cycle()
        try:
            one.run(attempt=2)
        except PvcError as error:
            pytest.fail(f"{name}, killed at call {at} ({fault.struck}, {kind}): {error}")
        assert one.picture() == wanted, f"{name}, killed at call {at} ({fault.struck}, {kind})"
