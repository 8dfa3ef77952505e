"""The primary, and nobody else, keeps the picture of the storage cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pvc_core.errors import DriverUnavailable
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.store import FakeCluster
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, Promotion
from pvc_core.model.node import Primary
from pvc_core.model.storage import StorageStatus
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmSnapshot
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.disks import Disks
from pvc_node.leadership import Leadership
from pvc_node.storage import StorageReporter

STATUS = StorageStatus(0.0, "HEALTH_OK", (), {"up,in": 3}, 100, 10, 90)


class Ceph:
    """Answers with ``shown``."""

    def __init__(self) -> None:
        self.shown = STATUS
        self.error = ""
        self.connects = 0
        self.closed = False

    def connect(self) -> Ceph:
        self.connects += 1
        return self

    def status(self, now: float) -> StorageStatus:
        if self.error:
            raise DriverUnavailable(self.error)
        return replace(self.shown, time=now)

    def close(self) -> None:
        self.closed = True


@dataclass
class World:
    servers: FakeCluster
    state: ClusterState
    clock: FakeClock
    ceph: Ceph
    disks: Disks
    reporter: StorageReporter

    def shown(self) -> StorageStatus | None:
        entry = self.state.find(records.STORAGE)
        return None if entry is None else entry.value


@pytest.fixture
def world() -> World:
    servers, clock, ceph = FakeCluster(), FakeClock(), Ceph()
    store = servers.connect()
    state = ClusterState(store)
    state.prepare()
    view = ClusterView(store)
    view.start()
    disks = Disks(ceph.connect)  # type: ignore[arg-type]
    return World(
        servers, state, clock, ceph, disks, StorageReporter(Leadership("n1", state), state, view, clock, disks.blocks)
    )


def test_only_the_primary_connects_and_writes(world: World) -> None:
    world.reporter.report()
    world.state.put(records.PRIMARY, Primary("n2", 1))
    world.reporter.report()
    assert (world.ceph.connects, world.shown()) == (0, None)
    world.state.put(records.PRIMARY, Primary("n1", 2))
    world.reporter.report()
    assert (world.ceph.connects, world.shown()) == (1, replace(STATUS, time=world.clock.now()))
    world.disks.close()
    assert world.ceph.closed


def test_what_has_not_changed_is_not_written_until_it_is_old(world: World) -> None:
    world.state.put(records.PRIMARY, Primary("n1", 1))
    world.reporter.report()
    commits = world.servers.commits
    for _ in range(5):
        world.clock.advance(5)
        world.reporter.report()
    assert world.servers.commits == commits
    world.ceph.shown = replace(STATUS, health="HEALTH_WARN")
    world.reporter.report()
    assert world.servers.commits == commits + 1
    world.clock.advance(30)
    world.reporter.report()
    assert world.servers.commits == commits + 2


def test_a_primary_that_was_replaced_meanwhile_writes_nothing(world: World) -> None:
    """Its picture of the cluster is old: the epoch's record, checked in the same transaction, says so."""
    world.state.put(records.PRIMARY, Primary("n1", 1))
    real = world.ceph.status

    def slow(now: float) -> StorageStatus:
        world.state.put(records.PRIMARY, Primary("n2", 2))
        return real(now)

    world.ceph.status = slow  # type: ignore[method-assign]
    world.reporter.report()
    assert world.shown() is None
    assert world.reporter.trouble == ""


def test_silence_of_the_storage_is_trouble_until_it_answers(world: World) -> None:
    world.state.put(records.PRIMARY, Primary("n1", 1))
    world.ceph.error = "Ceph does not answer"
    world.reporter.report()
    assert world.reporter.trouble == "Ceph does not answer"
    world.ceph.error = ""
    world.reporter.report()
    assert world.reporter.trouble == ""
    assert world.shown() is not None


def test_what_a_mirror_lacks_is_counted(world: World) -> None:
    blocks = FakeBlocks()
    blocks.create_pool("vms", 32, 3, 2, "default")
    blocks.create("vms", "disk1", 8 << 20)
    blocks.create_snapshot("vms", "disk1", "s1")
    lineage = Lineage((Promotion(1, "fsid", "", forced=False, time=0.0),))
    mirror = Mirror("vm1", "west", MirrorRole.PRIMARY, lineage, shared="s1")
    taken = VmSnapshot("vm1", "s1", 0.0, Quiesced.OFF, (SnapshotDisk("vms/disk1", 8 << 20),))
    world.state.store.ensure(records.vm_snapshots("vm1"))
    world.state.put(records.mirror("vm1"), mirror)
    world.state.put(records.vm_snapshot("vm1", "s1"), taken)
    world.state.put(records.PRIMARY, Primary("n1", 1))
    view = ClusterView(world.state.store)
    view.start()
    reporter = StorageReporter(Leadership("n1", world.state), world.state, view, world.clock, lambda: blocks)
    reporter.report()
    assert world.shown() is not None
    assert world.shown().unsent == {"vm1": 0}  # type: ignore[union-attr]
    with blocks.open("vms", "disk1", writable=True) as image:
        image.write(1 << 20, b"x" * 4096)
    world.clock.advance(40)
    reporter.report()
    assert world.shown().unsent["vm1"] >= 4096  # type: ignore[union-attr]
    world.state.put(records.mirror("vm1"), replace(mirror, role=MirrorRole.SECONDARY))
    world.clock.advance(40)
    reporter.report()
    assert world.shown().unsent == {}  # type: ignore[union-attr]
