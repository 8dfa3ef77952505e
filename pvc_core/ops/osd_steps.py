"""What operations on OSDs share: their checks, and waiting for Ceph to move data."""

from __future__ import annotations

from pvc_core.errors import BadRequest, Conflict, Failed, NotFound
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Device, Osd
from pvc_core.ops.base import Run
from pvc_core.ops.common import find_node, node_runs
from pvc_core.ops.steps import commit
from pvc_core.rules import devices
from pvc_core.state import records
from pvc_core.state.cluster import Transaction

POLL = 1.0  # seconds between two questions to Ceph, which tells nobody when something has changed
UP_TIMEOUT = 120.0  # seconds for a daemon to join
DOWN_TIMEOUT = 60.0  # seconds for Ceph to see that a daemon has stopped; a heartbeat that fails takes 20 to 30
IDLE_LIMIT = 60.0  # seconds in which Ceph moves nothing off an OSD; it begins within a few
SMALLEST_DB = 1024**3  # bytes; less would not even hold the log of a database


def osd_node(snapshot: ClusterSnapshot, osd: int) -> str:
    """The node that carries an OSD, by its record or else by where Ceph last saw it. Raises NotFound."""
    if osd in snapshot.osds:
        return snapshot.osds[osd].node
    known = snapshot.storage.osds if snapshot.storage else {}
    if osd not in known:
        raise NotFound(
            f"there is no OSD {osd}; there are {', '.join(map(str, sorted({*known, *snapshot.osds}))) or 'none'}"
        )
    return known[osd].node


def require_node(snapshot: ClusterSnapshot, name: str) -> None:
    """Raise NotFound or Conflict unless a node can work on its disks."""
    find_node(snapshot, name)
    if not node_runs(snapshot, name):
        raise Conflict(f"node {name} does not run, and nobody else can reach its disks: bring it back first")


def check_database(ratio: float, size: int) -> None:
    """Raise BadRequest for a wish for a database that cannot be."""
    if ratio and size:
        raise BadRequest("give ext_db_ratio or ext_db_size, not both")
    if not 0 <= ratio < 1:
        raise BadRequest(f"ext_db_ratio is a part of the OSD's size, from 0 to 1, not {ratio:g}")
    if size and size < SMALLEST_DB:
        raise BadRequest(f"ext_db_size must be 1G or more, not {size} bytes")


def find_device(run: Run, device: str, *, empty: bool) -> Device:
    """The disk of this node that is meant. Raises NotFound; Conflict when it must be ``empty`` and is not."""
    found = run.tools.osds.device(devices.resolve(device, run.tools.osds.devices()))
    if empty and found.holds:
        raise Conflict(f"{found.path} is not empty, it holds {found.holds}: wipe it first, or take another disk")
    return found


def database(run: Run, disk: Device, count: int, ratio: float, size: int) -> tuple[str, int]:
    """Where the databases of ``count`` OSDs on a disk go, and how large each is; nowhere when none was wished for."""
    if not ratio and not size:
        return "", 0
    group = run.tools.osds.db_group()
    if not group:
        node = run.tools.config.node.name
        raise Conflict(f"node {node} has no volume group for databases; make one: pvc storage osd create-db-vg {node}")
    return group, size or max(SMALLEST_DB, int(ratio * disk.size / count))


def require_enough(snapshot: ClusterSnapshot, osd: int) -> None:
    """Raise Conflict when without this OSD there are fewer than a pool keeps copies, so that its data could not move
    anywhere."""
    known = snapshot.storage.osds if snapshot.storage else {}
    if osd not in known or not known[osd].in_:
        return
    for pool in snapshot.pools.values():
        fit = [number for number, stats in known.items() if stats.in_ and pool.tier in ("default", stats.device_class)]
        left = len(fit) - 1
        if osd in fit and left < pool.replicas:
            raise Conflict(
                f"pool {pool.name} keeps {pool.replicas} copies, and without OSD {osd} only {left} OSDs take data: "
                "add another one first, or force it"
            )


def require_room(run: Run, osd: int) -> None:
    """Raise Conflict when the other OSDs would be too full with what is on this one."""
    stats = run.tools.osd_map.stats()
    if not stats[osd].in_:
        return
    used = sum(each.used_kb for each in stats.values() if each.in_)
    room = sum(each.kb for number, each in stats.items() if each.in_ and number != osd)
    ratio = run.tools.config.ceph.full_ratio
    if used > ratio * room:
        share = f"{used / room:.0%}" if room else "all"
        raise Conflict(
            f"without OSD {osd} the others would be filled to {share}, and {ratio:.0%} is the limit: add another one "
            "first, or force it"
        )


def drain(run: Run, osd: int) -> None:
    """Wait until Ceph can do without what is on an OSD that is out. Raises Failed when nothing moves any more."""
    most, since = 1, run.tools.clock.monotonic()
    while reason := run.tools.osd_map.unsafe_to_destroy(osd):
        load = run.tools.osd_map.load(osd)
        most = max(most, load.objects)
        run.part(most - load.objects, most, f"{load.objects} objects in {load.groups} placement groups to go")
        if load.moving:
            since = run.tools.clock.monotonic()
        elif run.tools.clock.monotonic() - since > IDLE_LIMIT:
            raise Failed(f"nothing moves off OSD {osd} any more: Ceph finds no other place for it, and says: {reason}")
        _pause(run)


def _pause(run: Run) -> None:
    run.tools.view.wait(lambda _: False, POLL)
    run.checkpoint()


def wait_up(run: Run, osds: list[int]) -> None:
    _wait(run, osds, up=True, timeout=UP_TIMEOUT)


def wait_down(run: Run, osd: int) -> None:
    _wait(run, [osd], up=False, timeout=DOWN_TIMEOUT)


def _wait(run: Run, osds: list[int], *, up: bool, timeout: float) -> None:
    """Raises Failed naming the first that is not as it should be in time."""
    deadline = run.tools.clock.monotonic() + timeout
    while True:
        stats = run.tools.osd_map.stats()
        late = [osd for osd in osds if osd in stats and stats[osd].up != up]
        if not late:
            return
        if run.tools.clock.monotonic() > deadline:
            raise Failed(f"OSD {late[0]} is not {'up' if up else 'down'} after {timeout:.0f} s")
        _pause(run)


def require_safe_to_stop(run: Run, osd: int) -> None:
    if reason := run.tools.osd_map.unsafe_to_stop(osd):
        raise Conflict(
            f"OSD {osd} cannot be stopped without harm; Ceph says: {reason}: take it out and wait, or force it"
        )


def put_record(run: Run, osd: Osd) -> None:
    """Write what PVC knows of an OSD."""

    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.osd(osd.id))
        if entry is None:
            transaction.create(records.osd(osd.id), osd)
        elif entry.value != osd:
            transaction.update(entry, osd)

    commit(run, prepare)


def drop_record(run: Run, osd: int) -> None:
    def prepare(transaction: Transaction) -> None:
        entry = run.tools.state.find(records.osd(osd))
        if entry is not None:
            transaction.delete(entry)

    commit(run, prepare)
