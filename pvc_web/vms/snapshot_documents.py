"""Snapshots of machines as the API shows them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm_snapshot import Purpose, Quiesced, VmConfig, VmSnapshot
from pvc_core.state import records
from pvc_web.api.schema import Document
from pvc_web.config import cluster

Differences = Callable[[VmSnapshot], tuple[str, ...]]


class VmSnapshotDocument(Document):
    """A snapshot of a machine with its disks."""

    name: str
    timestamp: Annotated[str, Meta(description="When it was taken, in seconds since the epoch")]
    age: Annotated[str, Meta(description="Seconds")]
    rbd_snapshots: Annotated[tuple[str, ...], Meta(description="Those of its disks, as pool/volume@snapshot")]
    xml_diff_lines: Annotated[
        tuple[str, ...],
        Meta(description="How the machine's XML differs from that of the snapshot; not in a list of machines"),
    ]
    size: Annotated[int, Meta(description="Bytes of all its disks together, as large as they were then")]
    quiesced: Annotated[Quiesced, Meta(description="How its disks were at rest")]
    purpose: Annotated[Purpose, Meta(description="Who made it, and so whose retention removes it")]


def _no_differences(_: VmSnapshot) -> tuple[str, ...]:
    return ()


def snapshot_documents(
    snapshot: ClusterSnapshot, uuid: str, differences: Differences = _no_differences
) -> tuple[VmSnapshotDocument, ...]:
    """A machine's snapshots, the newest first."""
    now = time.time()
    taken = snapshot.vm_snapshots.get(uuid, {}).values()
    return tuple(
        VmSnapshotDocument(
            name=one.name,
            timestamp=str(int(one.created)),
            age=str(max(0, int(now - one.created))),
            rbd_snapshots=tuple(f"{disk.volume}@{one.name}" for disk in one.disks),
            xml_diff_lines=differences(one),
            size=sum(disk.size for disk in one.disks),
            quiesced=one.quiesced,
            purpose=one.purpose,
        )
        for one in sorted(taken, key=lambda one: (-one.created, one.name))
    )


def differences_to(xml: str) -> Differences:
    """How snapshots differ from a machine's present XML. Reads what no view keeps, once for each snapshot."""

    def lines(taken: VmSnapshot) -> tuple[str, ...]:
        config = _config(taken)
        then = config.xml if config is not None else xml
        return tuple(difflib.unified_diff(xml.splitlines(), then.splitlines(), "current", taken.name, n=1, lineterm=""))

    return lines


@lru_cache(1024)
def _config(taken: VmSnapshot) -> VmConfig | None:
    """What is recorded never changes; another snapshot of the same name has another time. None when it is being
    removed."""
    entry = cluster.state().find(records.vm_snapshot_config(taken.vm, taken.name))
    return entry.value if entry is not None else None
