"""A snapshot as it is sent by the calls that PVC's API documents, to a cluster that does not know ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pvc_core.model.vm_snapshot import Quiesced, VmSnapshot
from pvc_core.ports import Offer


@dataclass(frozen=True)
class DocumentedOffer:
    """The arguments of the calls for one offer."""

    offer: Offer

    @property
    def path(self) -> str:
        return f"vm/{self.offer.vm}/snapshot/receive"

    def size(self, volume: str) -> int:
        """Bytes; ``volume`` is ``pool/name`` here."""
        return next(disk.size for disk in self.offer.disks if disk.volume == volume)

    def place(self, volume: str) -> dict[str, str]:
        pool, _, name = volume.partition("/")
        return {"pool": self.offer.pool or pool, "volume": name, "snapshot": self.offer.snapshot.name}

    def block(self, volume: str, since: str) -> tuple[str, dict[str, str]]:
        """Method and arguments of the call whose body is the volume, or what differs in it."""
        if since:
            return "PUT", self.place(volume) | {"source_snapshot": since}
        return "POST", self.place(volume) | {"size": str(self.size(volume))}

    def config(self) -> tuple[dict[str, str], Mapping[str, Any]]:
        """Arguments and body of the call that completes it."""
        first = self.offer.disks[0]
        arguments = self.place(first.volume) | {"size": str(first.size)}
        if self.offer.parent:
            arguments["source_snapshot"] = self.offer.parent
        return arguments, msgspec.to_builtins({"taken": self.offer.snapshot, "config": self.offer.config})


class DocumentedMachine(msgspec.Struct):
    """What is read of the documented answer about a machine."""

    snapshots: tuple[_Taken, ...] = ()

    def taken(self, vm: str) -> tuple[VmSnapshot, ...]:
        return tuple(VmSnapshot(vm, one.name, float(one.timestamp), Quiesced.PAUSED, ()) for one in self.snapshots)


class _Taken(msgspec.Struct):
    name: str
    timestamp: str | float
