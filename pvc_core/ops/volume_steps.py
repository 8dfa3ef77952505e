"""What operations on volumes share: their checks, and changes that keep Ceph and the records in step."""

from __future__ import annotations

import logging

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Volume
from pvc_core.model.vm import VmState
from pvc_core.ops.base import Run
from pvc_core.ops.common import check_name, users_of_volume, vm_lock
from pvc_core.ops.steps import change, commit
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

log = logging.getLogger(__name__)

WATCHERS_TIMEOUT = 45.0  # seconds; Ceph counts a client that was killed as a user of its images for 30
WATCHERS_INTERVAL = 1.0  # seconds between two looks at them, since Ceph tells nobody when one goes


def require_pool(snapshot: ClusterSnapshot, pool: str) -> None:
    if pool not in snapshot.pools:
        raise NotFound(f"there is no pool {pool!r}; there are {', '.join(sorted(snapshot.pools)) or 'none'}")


def find_volume(snapshot: ClusterSnapshot, full_name: str) -> Volume:
    """Raises NotFound."""
    volume = snapshot.volumes.get(full_name)
    if volume is None:
        raise NotFound(f"there is no volume {full_name}")
    return volume


def check_new(snapshot: ClusterSnapshot, pool: str, name: str) -> None:
    """Raise Refused unless a volume of that name can be made in the pool."""
    require_pool(snapshot, pool)
    check_name("volume", name)
    if f"{pool}/{name}" in snapshot.volumes:
        raise Conflict(f"there is a volume {pool}/{name} already")


def check_room(run: Run, pool: str, added: int, force: bool) -> None:
    """Raise Conflict when ``added`` bytes could fill the pool beyond the configured ratio, unless forced."""
    stats = run.tools.blocks.pools().get(pool)
    if stats is None:
        raise NotFound(f"there is no pool {pool!r} in Ceph")
    ratio = run.tools.config.ceph.full_ratio
    capacity = stats.stored_bytes + stats.free_bytes
    if not force and stats.stored_bytes + added > ratio * capacity:
        raise Conflict(
            f"pool {pool} holds {stats.stored_bytes} of {capacity} bytes, and {added} more could fill it beyond "
            f"{ratio:.0%}: free some, or force it"
        )


def require_free_name(run: Run, pool: str, name: str) -> None:
    """Raise Conflict when Ceph has such an image without PVC. What appears after this is our own, since the name is
    locked, and may be removed again."""
    if run.tools.blocks.exists(pool, name):
        raise Conflict(f"Ceph has an image {pool}/{name} that PVC does not know: scan it, or take another name")


def create_volume(run: Run, pool: str, name: str, size: int) -> None:
    """Make an empty image and its record, or neither."""
    require_free_name(run, pool, name)
    volume = change(
        run,
        lambda: run.tools.blocks.create(pool, name, size),
        f"volume {pool}/{name} is in Ceph and has no record",
        lambda: remove_image(run, pool, name),
    )
    record_volume(run, volume)


def record_volume(run: Run, volume: Volume) -> None:
    """Write the record of a new image, taken back by an undo; its pool must still be there."""

    def prepare(transaction: Transaction) -> None:
        transaction.check(run.tools.state.get(records.pool(volume.pool)))
        transaction.create(records.volume(volume.pool, volume.name), volume)

    change(
        run,
        lambda: commit(run, prepare),
        f"volume {volume.full_name} has a record and no image",
        lambda: _forget_volume(run, volume.pool, volume.name),
    )


def update_record(run: Run, volume: Volume) -> None:
    """Write what Ceph says of an image."""

    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.volume(volume.pool, volume.name))
        if entry is None:
            transaction.create(records.volume(volume.pool, volume.name), volume)
        elif entry.value != volume:
            transaction.update(entry, volume)

    commit(run, prepare)


def require_no_mirror(snapshot: ClusterSnapshot, full_name: str) -> None:
    """Raise Conflict for the disk of a machine that another cluster sends: what comes next builds on what it holds."""
    for entry, _ in users_of_volume(snapshot, full_name):
        if entry.vm.state is VmState.MIRROR:
            raise Conflict(f"volume {full_name} is a disk of VM {entry.vm.name}, which another cluster sends")


def user_locks(snapshot: ClusterSnapshot, full_name: str) -> tuple[str, ...]:
    """The locks of the machines that have this disk, so that none is started meanwhile."""
    return tuple(sorted({vm_lock(entry.vm.uuid) for entry, _ in users_of_volume(snapshot, full_name)}))


def require_no_snapshots(volume: Volume) -> None:
    """Raises Conflict naming them."""
    if volume.snapshots:
        names = ", ".join(snapshot.name for snapshot in volume.snapshots)
        raise Conflict(f"volume {volume.full_name} has snapshots ({names}): remove them first")


def wait_unused(run: Run, pool: str, name: str) -> None:
    """Wait for an image that nobody should use any more, since Ceph is slow to see that a client is gone. Raises
    Conflict when somebody does use it."""
    if watchers := _wait_watchers(run, pool, name, 0):
        raise Conflict(f"volume {pool}/{name} is in use by {', '.join(watchers)}")


def wait_dead_watchers(run: Run, pool: str, name: str, users: int) -> None:
    """Wait until Ceph has missed the clients that died using an image which so many should use: each change of it waits
    for their answer. Those that are left live, and do answer."""
    _wait_watchers(run, pool, name, users)


def _wait_watchers(run: Run, pool: str, name: str, most: int) -> list[str]:
    """Wait until no more than so many use an image; who does, which are more of them when they live."""
    deadline = run.tools.clock.monotonic() + WATCHERS_TIMEOUT
    while len(watchers := run.tools.blocks.watchers(pool, name)) > most and run.tools.clock.monotonic() < deadline:
        run.wait(f"volume {pool}/{name} to be let go", lambda _: False, WATCHERS_INTERVAL)
    return watchers


def remove_volume(run: Run, pool: str, name: str) -> None:
    """Remove an image, and its record after it, so that what breaks off is found and done again. Either may be gone."""
    try:
        wait_unused(run, pool, name)
    except NotFound:
        log.info("volume %s/%s is gone from Ceph already", pool, name)
    remove_image(run, pool, name)
    run.commit_point()
    _forget_volume(run, pool, name)


def remove_image(run: Run, pool: str, name: str) -> None:
    """Remove an RBD image; nothing when it is gone already."""
    try:
        run.tools.blocks.remove(pool, name)
    except NotFound:
        return


def _forget_volume(run: Run, pool: str, name: str) -> None:
    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.volume(pool, name))
        if entry is not None:
            transaction.delete(entry)

    commit(run, prepare)
