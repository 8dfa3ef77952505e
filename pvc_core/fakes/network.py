"""The bridges of one node, in memory."""

from __future__ import annotations

from pvc_core.errors import DriverUnavailable
from pvc_core.model.node import InterfaceStats


class FakeNetwork:
    """A test sets ``unavailable`` to let every call fail, and reads ``mtus`` (by VNI)."""

    def __init__(self) -> None:
        self.mtus: dict[int, int | None] = {}
        self.unavailable = False

    def bridges(self) -> set[str]:
        self._answer()
        return {f"vmbr{vni}" for vni in self.mtus}

    def ensure_bridged(self, vni: int, mtu: int | None) -> None:
        self._answer()
        self.mtus[vni] = mtu

    def remove_bridged(self, vni: int) -> None:
        self._answer()
        self.mtus.pop(vni, None)

    def interfaces(self) -> dict[str, InterfaceStats]:
        self._answer()
        return {"eth0": InterfaceStats("up", 10_000, 1000, 10, 2000, 20)}

    def _answer(self) -> None:
        if self.unavailable:
            raise DriverUnavailable("the network of this node does not answer")
