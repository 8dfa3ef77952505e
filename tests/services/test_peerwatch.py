"""The calls to other clusters, with a peer that answers and one that keeps its caller waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from pvc_core.config import TimingConfig
from pvc_core.errors import DriverUnavailable, NotFound
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, PeerWatch, Promotion, Word
from pvc_core.model.vm import VmState
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_tasks import peerwatch
from pvc_tasks.peerwatch import PeerWatcher
from pvc_web.config import cluster as connections
from tests.services import world

FIRST = Lineage((Promotion(1, "fsid-east", "", forced=False, time=1.0),))
TAKEN = Lineage((*FIRST.promotions, Promotion(2, "fsid-west", "s1", forced=True, time=2.0)))


class Answering:
    def __init__(self, hear: Callable[[], Word]) -> None:
        self.hear = hear

    def close(self) -> None:
        pass


class Peers:
    def __init__(self, **known: Callable[[], Word]) -> None:
        self.known = known

    def names(self) -> Sequence[str]:
        return tuple(self.known)

    def connect(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> Answering:
        if name not in self.known:
            raise NotFound(f"there is no peer {name!r}")
        return Answering(self.known[name])


@pytest.fixture
def watching(cluster: ClusterState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Peers], None]]:
    """Starts a watcher, which the end of the test stops."""
    monkeypatch.setattr(peerwatch, "INTERVAL", 0.02)
    world.populate(cluster)
    started = []

    def start(peers: Peers) -> None:
        started.append(PeerWatcher(peers, TimingConfig()))  # type: ignore[arg-type]
        started[0].start()

    yield start
    for watcher in started:
        watcher.stop()
        watcher.join()


def wait(what: Callable[[], bool]) -> None:
    assert connections.view().wait(lambda _: what(), 20.0)


def seen(cluster: ClusterState, name: str) -> PeerWatch:
    entry = cluster.find(records.peer(name))
    return entry.value if entry is not None else PeerWatch(name)


def silent() -> Word:
    raise DriverUnavailable("it does not answer")


def test_a_peer_that_hangs_holds_up_nobody_and_is_no_absence(
    cluster: ClusterState, watching: Callable[[Peers], None]
) -> None:
    release = threading.Event()

    def hang() -> Word:
        release.wait(30)
        raise DriverUnavailable("it took too long")

    began = time.time()
    watching(Peers(west=lambda: Word("fsid-west", time.time() + 3600, {}), north=hang, south=silent))
    try:
        wait(lambda: seen(cluster, "west").answered > began)
        first = seen(cluster, "west").answered
        wait(lambda: seen(cluster, "west").answered > first)
        wait(lambda: seen(cluster, "north").attempted > first)
        wait(lambda: seen(cluster, "south").attempted > first)
    finally:
        release.set()
    west = seen(cluster, "west")
    assert west.fsid == "fsid-west"
    assert abs(west.offset - 3600) < 5
    assert seen(cluster, "north").answered == seen(cluster, "south").answered == 0


def test_a_machine_that_was_superseded_is_shut_down(cluster: ClusterState, watching: Callable[[Peers], None]) -> None:
    ours = Mirror(world.WEB, "west", MirrorRole.PRIMARY, FIRST)
    cluster.transaction().create(records.mirror(world.WEB), ours).commit()
    connections.view().settle()
    watching(Peers(west=lambda: Word("fsid-west", time.time(), {world.WEB: replace(ours, lineage=TAKEN)})))
    wait(lambda: cluster.get(records.mirror(world.WEB)).value.role is MirrorRole.SUPERSEDED)
    vm = cluster.get(records.vm(world.WEB)).value
    assert vm.state is VmState.SHUTDOWN
    assert vm.shutdown_deadline > time.time()
