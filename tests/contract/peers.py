"""Worlds of two clusters: one in memory that sends, and another that it reaches as its peer ``west``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lab.site import Site
from pvc_core.drivers.peers import HttpPeers
from pvc_core.errors import NotFound
from pvc_core.model.vm import VmState
from pvc_core.ports import BlockStore, Peer, PeerAccess
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from tests.contract.proxy import Proxy
from tests.unit.ops.house import House
from tests.unit.ops.pair import Pair

EAST = "fsid-east"


class PeerWorld(Protocol):
    """``east`` has the machines; ``state`` and ``blocks`` are those of the other side. ``cuts``: see ``Proxy``."""

    east: House
    state: ClusterState
    blocks: BlockStore
    cuts: list[int]

    def peer(self) -> Peer: ...

    @property
    def passed(self) -> int:
        """Bytes that were sent so far."""

    def close(self) -> None: ...


class FakePeerWorld:
    def __init__(self, directory: Path) -> None:
        self._pair = Pair(directory)
        self.east = self._pair.east
        self.state, self.blocks = self._pair.west.state, self._pair.west.blocks
        self.cuts = self._pair.to_west.cuts

    def peer(self) -> Peer:
        return self._pair.to_west

    @property
    def passed(self) -> int:
        return self._pair.to_west.received

    def close(self) -> None:
        pass


class Known:
    """A directory of peers."""

    def __init__(self, peers: Mapping[str, PeerAccess]) -> None:
        self.peers = dict(peers)

    def names(self) -> Sequence[str]:
        return tuple(self.peers)

    def find(self, name: str) -> PeerAccess:
        if name not in self.peers:
            raise NotFound(f"there is no peer {name!r}; there are {', '.join(self.peers)}")
        return self.peers[name]


class SitePeerWorld:
    """The other side is a site with its web server and its workers, behind a network that can be cut."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.site = site
        self.east = House(directory / "east")
        self.east.blocks.fsid = EAST
        self.east.state.put(records.STORAGE, self.east.blocks.status(0.0))
        self.proxy = Proxy(site.listen)
        self.state, self.blocks = site.state, site.blocks
        self.cuts = self.proxy.cuts
        self.uri = site.uri.replace(site.listen, self.proxy.address)
        self.known = Known({"west": self.access()})
        self.east.peers = HttpPeers(self.known, lambda: EAST)  # type: ignore[assignment]

    def access(self, *, token: str = "", verify_ssl: bool = False, bandwidth: int = 0) -> PeerAccess:
        return PeerAccess(self.uri, token or self.site.token, verify_ssl, bandwidth=bandwidth)

    def peer(self) -> Peer:
        return self.east.peers.connect("west")

    @property
    def passed(self) -> int:
        return self.proxy.passed

    def close(self) -> None:
        """Forget what arrived."""
        self.proxy.close()
        for uuid in self.state.store.children(records.TRANSFERS):
            name = self.state.get(records.transfer(uuid)).value.snapshot
            self.site.do("DELETE", f"vm/{uuid}/transfer/{name}")


def state_of(world: PeerWorld, uuid: str) -> VmState | None:
    entry = world.state.find(records.vm(uuid))
    return entry.value.state if entry is not None else None


def content(blocks: BlockStore, disk: str, snapshot: str) -> bytes:
    with blocks.open("vms", disk, snapshot=snapshot) as image:
        return image.read(0, image.size)
