"""The picture of the storage cluster, which the primary keeps for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from pvc_core.errors import DriverError, NotFound, PvcError, Stale
from pvc_core.model.mirror import MirrorRole
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import StorageStatus
from pvc_core.ports import BlockStore, Clock
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.leadership import Leadership
from pvc_node.trouble import Trouble

REFRESH = 30.0  # seconds after which an unchanged picture is written again, so that its age shows that it is kept


class StorageReporter:
    """Runs on a thread of its own: Ceph may take long to answer, or not answer at all.

    ``connect`` is not called before the node is primary, so that other nodes do without Ceph's libraries.
    """

    def __init__(
        self,
        leadership: Leadership,
        state: ClusterState,
        view: ClusterView,
        clock: Clock,
        connect: Callable[[], BlockStore],
    ) -> None:
        self._leadership = leadership
        self._state = state
        self._view = view
        self._clock = clock
        self._connect = connect
        self._written: StorageStatus | None = None
        self._unsent: dict[str, int] = {}
        self._counted_at: float | None = None
        self._trouble = Trouble("storage")

    @property
    def trouble(self) -> str:
        return self._trouble.message

    def report(self) -> None:
        """Look once and write what has changed, if this node is primary."""
        if not self._leadership.is_primary(self._view.snapshot()):
            self._written = None
            self._trouble.end()
            return
        try:
            blocks = self._connect()
            status = blocks.status(self._clock.now())
            self._write(replace(status, unsent=self._count_unsent(blocks)))
            self._trouble.end()
        except Stale:
            self._written = None  # another node is primary by now, or writes: the next look tells
        except PvcError as error:
            self._trouble.begin(error)

    def _count_unsent(self, blocks: BlockStore) -> dict[str, int]:
        """Bytes that each mirrored machine has written since the snapshot which the other cluster has, as far as whole
        objects tell. It is counted once in a while, since it asks each disk."""
        now = self._clock.monotonic()
        if self._counted_at is None or now - self._counted_at >= REFRESH:
            self._counted_at = now
            self._unsent = dict(_unsent(self._view.snapshot(), blocks))
        return self._unsent

    def _write(self, status: StorageStatus) -> None:
        last = self._written
        if last is not None and abs(status.time - last.time) < REFRESH and replace(status, time=last.time) == last:
            return
        transaction = self._state.transaction()
        self._leadership.check(transaction)
        entry = self._state.find(records.STORAGE)
        if entry is None:
            transaction.create(records.STORAGE, status)
        else:
            transaction.update(entry, status)
        transaction.commit()
        self._written = status


def _unsent(snapshot: ClusterSnapshot, blocks: BlockStore) -> Iterator[tuple[str, int]]:
    for uuid, mirror in snapshot.mirrors.items():
        taken = snapshot.vm_snapshots.get(uuid, {}).get(mirror.shared)
        if mirror.role is not MirrorRole.PRIMARY or taken is None:
            continue
        with suppress(NotFound, DriverError):  # it is removed just now, or does not answer
            yield uuid, sum(_changed(blocks, disk.volume, taken.name) for disk in taken.disks)


def _changed(blocks: BlockStore, volume: str, since: str) -> int:
    with blocks.open(*volume.split("/", 1)) as image:
        return sum(extent.length for extent in image.extents(since))
