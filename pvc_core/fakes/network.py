"""The bridges and addresses of one node, in memory."""

from __future__ import annotations

from collections.abc import Collection

from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.fakes.clock import FakeClock
from pvc_core.model.node import InterfaceStats
from pvc_core.ports import Clock


class FakeNetwork:
    """A test sets ``unavailable`` to let every call fail and ``card`` to what went through eth0, and reads ``mtus`` (by
    VNI) and ``announced``. ``addresses`` are the node's own, in CIDR notation; floating ones live by ``clock``."""

    def __init__(self, addresses: Collection[str] = (), clock: Clock | None = None) -> None:
        self.mtus: dict[int, int | None] = {}
        self.announced: list[str] = []
        self.unavailable = False
        self.card = InterfaceStats("up", 10_000, 1000, 10, 2000, 20)
        self._addresses = addresses
        self._clock = clock or FakeClock()
        self._floating: dict[str, float] = {}  # until when

    def bridges(self) -> set[str]:
        self._answer()
        return {f"vmbr{vni}" for vni in self.mtus}

    def ensure_bridged(self, vni: int, mtu: int | None) -> None:
        self._answer()
        self.mtus[vni] = mtu

    def remove_bridged(self, vni: int) -> None:
        self._answer()
        self.mtus.pop(vni, None)

    def hold(self, address: str, beside: str, seconds: int) -> None:
        self._answer()
        if beside not in self._addresses:
            raise DriverError(f"{address} has no place here: no interface of this node has the address {beside}")
        self._floating[address] = self._clock.monotonic() + seconds

    def announce(self, address: str) -> None:
        if not self.held([address]):
            raise DriverError(f"{address} cannot be announced: this node does not have it")
        self.announced.append(address)

    def release(self, address: str) -> None:
        self._answer()
        self._floating.pop(address, None)

    def held(self, addresses: Collection[str]) -> set[str]:
        self._answer()
        now = self._clock.monotonic()
        return {address for address in addresses if self._floating.get(address, now) > now}

    def interfaces(self) -> dict[str, InterfaceStats]:
        self._answer()
        return {"eth0": self.card}

    def _answer(self) -> None:
        if self.unavailable:
            raise DriverUnavailable("the network of this node does not answer")
