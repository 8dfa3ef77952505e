"""What a node does about machines: from what is wanted and what its hypervisor shows to actions. Pure.

A machine's status record is its lease. A node writes STARTING into it, conditional on what it had read, before it
starts a domain, and only the node named there, or who fenced that node, writes STOPPED. So no machine runs twice,
however late a snapshot is: a decision made from an old one fails on its versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pvc_core.config import TimingConfig
from pvc_core.model.snapshot import ClusterSnapshot, VmEntry
from pvc_core.model.vm import Domain, DomainRun, RunState, Vm, VmState, VmStatus
from pvc_core.rules.lineage import hindrance

GIVEN_UP_CRASHES = 3  # see ``_ended``
PRESS_AGAIN = 15.0  # seconds: a guest that is still booting takes no notice of its power button


@dataclass(frozen=True, slots=True)
class Pressed:
    """How many seconds ago this daemon pressed a running domain's power button, for the first and for the last time."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What a node knows of itself when it decides."""

    node: str
    incarnation: int
    domains: Mapping[str, Domain]  # by uuid
    pressed: Mapping[str, Pressed]  # by uuid
    timing: TimingConfig
    autostart: bool = False  # the node has just become ready


@dataclass(frozen=True, slots=True)
class Subject:
    """The machine that an action is about, and the versions under which it was decided (-1: there is no record)."""

    uuid: str
    name: str
    vm_version: int = -1
    status_version: int = -1


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do about one machine: ``old`` becomes ``new``, because of ``why``."""

    subject: Subject
    old: str
    new: str
    why: str

    @property
    def id(self) -> tuple[str, Subject]:
        """The same decision from the same records has the same id."""
        return (type(self).__name__, self.subject)


@dataclass(frozen=True, slots=True)
class Start(Action):
    """Write ``claim``, then start the domain. ``unclean``: its last run may have left locks on its disks."""

    claim: VmStatus
    unclean: bool


@dataclass(frozen=True, slots=True)
class PressPowerButton(Action):
    """Ask the guest to power off."""


@dataclass(frozen=True, slots=True)
class Destroy(Action):
    """Cut the domain's power."""


@dataclass(frozen=True, slots=True)
class Release(Action):
    """Let a domain go on that ``task`` stopped for a moment and left so. ``vm`` says that nobody holds it any more."""

    task: str
    vm: Vm


@dataclass(frozen=True, slots=True)
class Record(Action):
    """Write what was seen, and what follows from it for what is wanted; both or neither."""

    status: VmStatus | None = None
    vm: Vm | None = None


def decide(snapshot: ClusterSnapshot, sight: Sight, now: float) -> list[Action]:
    """What the node of ``sight`` has to do now, at most one action a machine."""
    fenced = snapshot.fences.get(sight.node)
    if fenced is not None:
        return list(_fenced(snapshot, sight)) if fenced.fence.confirmed else []
    actions = [_decide_one(entry, left_held(snapshot, entry), sight, now) for entry in concerning(snapshot, sight)]
    allowed = [action for action in actions if action is not None and not _hindered(action, snapshot, sight, now)]
    return allowed + list(_unknown(snapshot, sight))


def concerning(snapshot: ClusterSnapshot, sight: Sight) -> Iterator[VmEntry]:
    """The machines that this node has a part in."""
    node = sight.node
    for uuid, entry in snapshot.vms.items():
        vm, status = entry.vm, entry.status
        if (
            vm.node == node
            or (status is not None and status.node == node)
            or (vm.migration is not None and vm.migration.target == node)
            or uuid in sight.domains
        ):
            yield entry


def left_held(snapshot: ClusterSnapshot, entry: VmEntry) -> bool:
    """Whether the task that holds the machine is gone: as long as a task lives it has the machine's lock."""
    vm = entry.vm
    return bool(vm.held) and snapshot.locks.get(f"vm:{vm.uuid}") != vm.held


def _hindered(action: Action, snapshot: ClusterSnapshot, sight: Sight, now: float) -> bool:
    """Another cluster may run the machine that would be started."""
    return isinstance(action, Start) and hindrance(snapshot, action.subject.uuid, now, sight.timing) != ""


def start_failed(claim: VmStatus, reason: str, now: float, timing: TimingConfig) -> VmStatus:
    """The status after the domain that was claimed by ``claim`` did not start."""
    return _after_crash(claim, claim.crashes + 1, reason, now, timing)


def backoff(crashes: int, timing: TimingConfig) -> float:
    """Seconds to wait before a machine is started again; from the third crash on doubled with each.

    The first end of a machine that ran is answered at once, without this; a start that failed is not.
    """
    return timing.restart_backoff * 2.0 ** max(0, crashes - 2) if crashes > 0 else 0.0


def _fenced(snapshot: ClusterSnapshot, sight: Sight) -> Iterator[Action]:
    """A node that was fenced has lost all that it ran. While that is not confirmed it lets things be: it may still be
    that nothing has happened."""
    for uuid, domain in sight.domains.items():
        if domain.alive:
            entry = snapshot.vms.get(uuid)
            subject = _subject(entry) if entry is not None else Subject(uuid, domain.name)
            yield Destroy(subject, domain.run, "destroyed", "this node was fenced")


def _decide_one(entry: VmEntry, left: bool, sight: Sight, now: float) -> Action | None:
    """``left``: see ``left_held``."""
    vm = entry.vm
    domain = sight.domains.get(vm.uuid)
    here = domain if domain is not None and domain.alive else None
    move = vm.migration if vm.migration is not None and vm.migration.live else None
    if move is not None and vm.node == sight.node:
        return None  # the task that migrates it decides
    if move is not None and move.target == sight.node:
        return _received(entry, here, sight, now)
    if vm.node != sight.node:
        return _foreign(entry, here, sight, now)
    if left and (here is None or vm.state not in (VmState.STOP, VmState.DISABLE)):
        return _release(entry)
    if here is not None:
        return _running(entry, here, sight, now)
    if entry.holder not in ("", sight.node):
        return None  # it may still run there: that node, or who fences it, says when it does not
    return _absent(entry, domain, sight, now)


def _received(entry: VmEntry, here: Domain | None, sight: Sight, now: float) -> Action | None:
    """QEMU runs at the target only after the source has handed over, so a running domain completes the move."""
    vm, migration = entry.vm, entry.vm.migration
    if here is None or migration is None or here.run is not DomainRun.RUNNING:
        return None
    moved = replace(vm, node=sight.node, last_node=migration.last_node, migration=None)
    return Record(
        _subject(entry),
        f"on {vm.node}",
        f"on {sight.node}",
        "it runs here after its migration",
        vm=moved,
        status=_seen_running(entry, here, sight, now),
    )


def _foreign(entry: VmEntry, here: Domain | None, sight: Sight, now: float) -> Action | None:
    if here is not None:
        if here.handed_over:
            return None
        return Destroy(_subject(entry), here.run, "destroyed", f"it belongs to node {entry.vm.node}")
    if entry.holder == sight.node and entry.vm.migration is None:
        return _record_stopped(entry, sight, now, "it does not run here any more")
    return None


def _unknown(snapshot: ClusterSnapshot, sight: Sight) -> Iterator[Action]:
    """Domains that run here and are no machine of the cluster."""
    for uuid, domain in sight.domains.items():
        if domain.alive and uuid not in snapshot.vms and not domain.handed_over:
            subject = Subject(uuid, domain.name)
            yield Destroy(subject, domain.run, "destroyed", "the cluster has no such machine")


def _running(entry: VmEntry, here: Domain, sight: Sight, now: float) -> Action | None:
    vm = entry.vm
    match vm.state:
        case VmState.STOP | VmState.DISABLE | VmState.MIRROR:
            return Destroy(_subject(entry), here.run, "destroyed", f"its state is {vm.state}")
        case VmState.SHUTDOWN if now >= vm.shutdown_deadline:
            return Destroy(_subject(entry), here.run, "destroyed", "it did not power off in time")
        case VmState.SHUTDOWN:
            return _press(entry, here, sight.pressed.get(vm.uuid), "its state is shutdown")
        case VmState.START if not here.handed_over:
            return _kept(entry, here, sight, now)
        case VmState.START if vm.migration is None and not entry.holder:
            return Destroy(_subject(entry), here.run, "destroyed", "the node that was sending it is gone")
    return None


def _kept(entry: VmEntry, here: Domain, sight: Sight, now: float) -> Action | None:
    """A machine that is wanted and runs: its record is brought up to date, and an older generation makes room."""
    vm = entry.vm
    seen = _seen_running(entry, here, sight, now)
    if seen != entry.status:
        why = "it runs on under a new daemon" if entry.holder == sight.node else "it runs here"
        return Record(_subject(entry), _run(entry), "running", why, status=seen)
    if seen.generation == vm.generation:
        return None
    pressed = sight.pressed.get(vm.uuid)
    if pressed is not None and pressed.first >= sight.timing.vm_shutdown_timeout:
        why = "it did not power off in time for the restart that was asked for"
        return Destroy(_subject(entry), here.run, "destroyed", why)
    return _press(entry, here, pressed, "a restart was asked for")


def _press(entry: VmEntry, here: Domain, pressed: Pressed | None, why: str) -> Action | None:
    if pressed is None:
        return PressPowerButton(_subject(entry), here.run, "shutdown", why)
    if pressed.last >= PRESS_AGAIN:
        return PressPowerButton(_subject(entry), here.run, "shutdown", f"{why}, and it took no notice yet")
    return None


def _release(entry: VmEntry) -> Release:
    vm = entry.vm
    why = f"task {vm.held}, which held it, is gone"
    return Release(_subject(entry), "held", "released", why, task=vm.held, vm=replace(vm, held=""))


def _absent(entry: VmEntry, ended: Domain | None, sight: Sight, now: float) -> Action | None:
    """A machine of this node that runs nowhere. ``ended`` is what the hypervisor remembers of its last domain."""
    vm, status = entry.vm, entry.status
    match vm.state:
        case VmState.START:
            return _wanted(entry, ended, sight, now)
        case VmState.SHUTDOWN:
            stopped = replace(vm, state=VmState.STOP, shutdown_deadline=0.0)
            return Record(
                _subject(entry),
                "shutdown",
                "stop",
                "it has powered off",
                vm=stopped,
                status=_stopped(entry, sight, now),
            )
        case VmState.STOP if sight.autostart and vm.meta.node_autostart:
            started = replace(vm, state=VmState.START, meta=replace(vm.meta, node_autostart=False))
            why = "its node is ready and it is set to start with it"
            return Record(_subject(entry), "stop", "start", why, vm=started)
    if status is None or status.run is not RunState.STOPPED or status.crashes or status.reason:
        return _record_stopped(entry, sight, now, f"its state is {vm.state}")
    return None


def _wanted(entry: VmEntry, ended: Domain | None, sight: Sight, now: float) -> Action | None:
    """A machine that should run here and does not."""
    vm, status = entry.vm, entry.status
    if status is None or status.generation != vm.generation:
        return _start(entry, 0, sight, now, "its state is start" if status is None else "it is to run anew")
    match status.run:
        case RunState.RUNNING:
            return _ended(entry, status, ended, sight, now)
        case RunState.STARTING:
            return _start(entry, status.crashes, sight, now, "an earlier start broke off", unclean=True)
        case RunState.FAILED | RunState.WAITING:
            return None
    if 0 <= now - status.since < backoff(status.crashes, sight.timing):
        return None
    again = f", attempt {status.crashes + 1}" if status.crashes else ""
    return _start(entry, status.crashes, sight, now, f"its state is start{again}")


def _ended(entry: VmEntry, status: VmStatus, ended: Domain | None, sight: Sight, now: float) -> Action:
    """A machine that ran here has ended although its state is start."""
    vm, timing = entry.vm, sight.timing
    if status.incarnation != sight.incarnation and ended is None:
        return _start(entry, 0, sight, now, "it ended while this node's daemon was away", unclean=True)
    if vm.uuid in sight.pressed:
        return _start(entry, 0, sight, now, "it powered off because of an earlier request")
    reason = ended.reason if ended is not None else ""
    if reason == "shutdown":
        stopped = replace(vm, state=VmState.STOP)
        return Record(
            _subject(entry),
            "start",
            "stop",
            "the guest powered itself off",
            vm=stopped,
            status=_stopped(entry, sight, now),
        )
    lasted = now - status.since >= timing.restart_reset
    crashes = 1 if lasted else status.crashes + 1
    if reason == "migrated":
        # It was handed over, yet its record says that the migration was given up, so the other node destroys its copy.
        # Such a back-off leaves that node the time to.
        crashes = max(crashes, GIVEN_UP_CRASHES)
    why = f"it ended unexpectedly ({reason or 'its process is gone'})"
    if crashes == 1:
        return _start(entry, crashes, sight, now, why)
    after = _after_crash(status, crashes, why, now, timing)
    return Record(_subject(entry), "running", after.run, after.reason, status=after)


def _after_crash(status: VmStatus, crashes: int, reason: str, now: float, timing: TimingConfig) -> VmStatus:
    run = RunState.STOPPED
    if crashes >= timing.restart_limit:
        run = RunState.FAILED
        reason = f"{reason}; given up after {crashes} attempts in a row"
    return replace(status, run=run, crashes=crashes, reason=reason, since=now, vnc_listen="", vnc_port=0)


def _start(entry: VmEntry, crashes: int, sight: Sight, now: float, why: str, *, unclean: bool = False) -> Start:
    claim = VmStatus(
        run=RunState.STARTING,
        node=sight.node,
        incarnation=sight.incarnation,
        generation=entry.vm.generation,
        since=now,
        crashes=crashes,
        former=entry.status.former if entry.status is not None else (),
    )
    old = "ended" if entry.runs else _run(entry)
    return Start(_subject(entry), old, "running", why, claim=claim, unclean=unclean or crashes > 0)


def _seen_running(entry: VmEntry, here: Domain, sight: Sight, now: float) -> VmStatus:
    status = entry.status
    held = entry.holder != ""
    return VmStatus(
        run=RunState.RUNNING,
        node=sight.node,
        incarnation=sight.incarnation,
        generation=status.generation if status is not None and held else entry.vm.generation,
        since=status.since if status is not None and status.run is RunState.RUNNING else now,
        crashes=status.crashes if status is not None else 0,
        vnc_listen=here.vnc_listen,
        vnc_port=here.vnc_port,
    )


def _stopped(entry: VmEntry, sight: Sight, now: float) -> VmStatus:
    generation = entry.status.generation if entry.status is not None else entry.vm.generation
    former = entry.status.former if entry.status is not None and not entry.runs else ()
    return VmStatus(RunState.STOPPED, sight.node, sight.incarnation, generation, since=now, former=former)


def _record_stopped(entry: VmEntry, sight: Sight, now: float, why: str) -> Record:
    return Record(_subject(entry), _run(entry), "stopped", why, status=_stopped(entry, sight, now))


def _run(entry: VmEntry) -> str:
    return entry.status.run if entry.status is not None else RunState.UNKNOWN


def _subject(entry: VmEntry) -> Subject:
    return Subject(entry.vm.uuid, entry.vm.name, entry.version, entry.status_version)
