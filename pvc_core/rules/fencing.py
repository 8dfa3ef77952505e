"""When a node is fenced, how that is proven, and what follows from it. Pure.

Only the primary decides here. A fence is a record that lives through its fencer: whoever is primary next goes on from
the step that it shows. Up to the confirmation the node may come back and the fence is called off; from there on there
is no way back, since its machines are started elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from pvc_core.config import FencingConfig
from pvc_core.model.fence import Attempt, Fence, FenceStep, Method
from pvc_core.model.node import DaemonState, Node
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, NodeEntry, VmEntry
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus

RETRY = 1.0  # seconds between two tries of a method while a fence is not failed yet


@dataclass(frozen=True, slots=True)
class Sight:
    """What the deciding node knows beside the snapshot. Times are in seconds of its own monotonic clock."""

    node: str
    due: frozenset[str]  # nodes that have been missed for long enough to be fenced
    ages: Mapping[str, float]  # for how long this node has seen each fence at its present step
    tried: Mapping[tuple[str, Method], float]  # how long ago it last began to try a method on a node
    mute: frozenset[str] = frozenset()  # nodes whose BMC did not answer while all was well
    stray: frozenset[str] = frozenset()  # nodes that are shut out of the storage without a fence
    dropped: frozenset[str] = frozenset()  # dead nodes whose OSDs this node has given up


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do about one node."""

    node: str


@dataclass(frozen=True, slots=True)
class Begin(Action):
    """Write the record of a new fence."""

    fence: Fence


@dataclass(frozen=True, slots=True)
class Try(Action):
    """Try one method, and write into the record what came of it."""

    entry: FenceEntry
    method: Method


@dataclass(frozen=True, slots=True)
class Advance(Action):
    """Write the fence's next step."""

    entry: FenceEntry
    fence: Fence


@dataclass(frozen=True, slots=True)
class Recover(Action):
    """Give the node's machines to others, and write the step FENCED when nothing is left to do."""

    entry: FenceEntry


@dataclass(frozen=True, slots=True)
class CallOff(Action):
    """The node is back before anything was confirmed: end the fence, unless its storage was shut out by now."""

    entry: FenceEntry


@dataclass(frozen=True, slots=True)
class PowerOn(Action):
    """Give the node its power back, which its fence took."""

    entry: FenceEntry


@dataclass(frozen=True, slots=True)
class Close(Action):
    """The node is back: end the fence, and with it the node's hold on what is left of its machines."""

    entry: FenceEntry


@dataclass(frozen=True, slots=True)
class DropOsds(Action):
    """Mark the OSDs down of nodes that have just died, long before they can be fenced. Its ``node`` is empty."""

    names: frozenset[str]


def decide(snapshot: ClusterSnapshot, sight: Sight, config: FencingConfig, now: float) -> list[Action]:
    """What the primary has to do about dead and returned nodes; nothing on any other node."""
    if snapshot.primary is None or snapshot.primary.node != sight.node:
        return []
    actions = [action for entry in snapshot.fences.values() for action in _go_on(snapshot, entry, sight, config, now)]
    silent = dead(snapshot) - sight.dropped - {sight.node}
    if silent and "storage" in config.methods:
        actions.append(DropOsds("", silent))
    return actions + list(_begin(snapshot, sight, config, now))


def dead(snapshot: ClusterSnapshot) -> frozenset[str]:
    """The nodes that have died and are not back; none in maintenance."""
    if snapshot.maintenance:
        return frozenset()
    return frozenset(name for name, entry in snapshot.nodes.items() if entry.daemon_state is DaemonState.DEAD)


def methods(node: Node | None, config: FencingConfig) -> tuple[Method, ...]:
    """The methods that can be tried on a node, in the order of preference. The watchdog is none: a node that resets
    itself proves it only by coming back."""
    wanted = (Method(name) for name in config.methods if name != "watchdog")
    return tuple(method for method in wanted if method is not Method.POWER or (node is not None and node.bmc))


def affected(snapshot: ClusterSnapshot, node: str) -> list[VmEntry]:
    """The machines that a fenced node still has a hold on."""
    return [entry for entry in snapshot.vms.values() if _is_affected(entry, node)]


def may_free(fence: Fence, *, only_rbd: bool) -> bool:
    """Whether it is proven that the fenced node can write to no disk of a machine. Storage fencing says so only where
    all of them are in the cluster's storage (``only_rbd``)."""
    if not fence.confirmed:
        return False
    return fence.power.confirmed or fence.confirmed_by is Method.HAND or (fence.storage.confirmed and only_rbd)


def freed(entry: VmEntry, node: str, now: float) -> tuple[Vm, VmStatus | None]:
    """The records of a machine after a fenced node's hold on it has ended; its place is chosen apart from this."""
    vm, status = entry.vm, entry.status
    if vm.node != node and entry.holder != node:  # it was on its way to the fenced node, and is back where it was
        return replace(vm, migration=None), None if status is None else _remembering(status, node)
    if vm.node == node:
        state, deadline = vm.state, vm.shutdown_deadline
        if state is VmState.SHUTDOWN:
            state, deadline = (VmState.START if vm.migration is not None else VmState.STOP), 0.0
        vm = replace(vm, state=state, shutdown_deadline=deadline, migration=None)
    if status is None or entry.holder != node:
        return vm, status
    stopped = VmStatus(RunState.STOPPED, node, status.incarnation, status.generation, since=now, former=status.former)
    target = _live_target(entry)
    return vm, _remembering(stopped, node, *([target] if target else []))


def _remembering(status: VmStatus, *nodes: str) -> VmStatus:
    """The status with nodes whose locks on the machine's disks may be left."""
    return replace(status, former=tuple(dict.fromkeys((*status.former, *nodes))))


def _live_target(entry: VmEntry) -> str:
    """The node to which a machine is being moved while it runs; empty when it is not."""
    migration = entry.vm.migration
    return migration.target if migration is not None and migration.live else ""


def placed(vm: Vm, node: str) -> Vm:
    """The machine on another node, to which it has come without being asked: it remembers where it belongs."""
    home = vm.last_node or vm.node
    return replace(vm, node=node, last_node="" if home == node else home)


def receiver(entry: VmEntry, snapshot: ClusterSnapshot) -> str:
    """The node to which a machine was being moved while it ran, if that lives: it may run there already, and only that
    node can tell, so it gets the machine."""
    target = snapshot.nodes.get(_live_target(entry))
    return target.node.name if target is not None and target.runs and target.fence is None else ""


def in_doubt(entry: VmEntry, node: str, snapshot: ClusterSnapshot) -> bool:
    """Whether a fenced node's machine may run where it was being moved to, without anyone who could tell: that node is
    silent as well, and its own fence is not confirmed yet."""
    target = _live_target(entry)
    if target in ("", node) or receiver(entry, snapshot):
        return False
    fence = snapshot.fences.get(target)
    return target in snapshot.nodes and (fence is None or not fence.fence.confirmed)


def answers(fence: Fence, node: Node | None) -> str:
    """What each method said, for a person who has to look."""
    nothing = "no answer yet"
    mute = nothing if node is not None and node.bmc is not None else "the node has no BMC in its configuration"
    said = ((Method.STORAGE, fence.storage, nothing), (Method.POWER, fence.power, mute))
    return "; ".join(
        f"{method}: {'confirmed' if attempt.confirmed else attempt.message or default}"
        for method, attempt, default in said
    )


def attempted(fence: Fence, method: Method, attempt: Attempt) -> Fence:
    """The fence after one more try of a method."""
    return replace(fence, storage=attempt) if method is Method.STORAGE else replace(fence, power=attempt)


def confirmed(fence: Fence, by: Method, now: float) -> Fence:
    return replace(fence, step=FenceStep.RECOVERING, confirmed_by=by, since=now)


def _is_affected(entry: VmEntry, node: str) -> bool:
    vm, migration = entry.vm, entry.vm.migration
    if entry.holder == node or (migration is not None and migration.live and migration.target == node):
        return True
    if vm.node != node or vm.state not in (VmState.START, VmState.SHUTDOWN):
        return False
    return entry.status is None or entry.status.run not in (RunState.FAILED, RunState.WAITING)


def _begin(snapshot: ClusterSnapshot, sight: Sight, config: FencingConfig, now: float) -> Iterator[Begin]:
    """One node at a time, but for a site that is lost as a whole."""
    if snapshot.maintenance:
        return
    under_way = fences_under_way(snapshot)
    for name in sorted(sight.due | sight.stray):
        entry = snapshot.nodes.get(name)
        why = _reason(entry, sight, config) if entry is not None and name not in snapshot.fences else ""
        if entry is not None and why and not is_held_up(snapshot, name, under_way):
            under_way.add(name)
            yield Begin(name, new_fence(entry.node, now, why))


def _reason(entry: NodeEntry, sight: Sight, config: FencingConfig) -> str:
    """Why a node is to be fenced; empty when it is not."""
    name = entry.node.name
    if name == sight.node:
        return ""
    if name in sight.stray:
        return "it is shut out of the storage, so what it runs is broken"
    if name not in sight.due or not _is_silent(entry) or (config.disable_on_ipmi_failure and name in sight.mute):
        return ""
    return "it has shown no sign of life"


def _is_silent(entry: NodeEntry) -> bool:
    return entry.alive is None and not entry.node.stopped


def fences_under_way(snapshot: ClusterSnapshot) -> set[str]:
    """The nodes whose fences hold up those of others."""
    steps = (FenceStep.FENCING, FenceStep.RECOVERING)
    return {name for name, entry in snapshot.fences.items() if entry.fence.step in steps}


def is_held_up(snapshot: ClusterSnapshot, name: str, under_way: Collection[str]) -> bool:
    """Whether a node's fence has to wait for those that are under way."""
    return not all(_lost_together(snapshot, name, other) for other in under_way)


def _lost_together(snapshot: ClusterSnapshot, one: str, other: str) -> bool:
    site = snapshot.nodes[one].node.site
    members = {name: entry for name, entry in snapshot.nodes.items() if entry.node.site == site}
    return bool(site) and other in members and all(map(_is_silent, members.values()))


def new_fence(node: Node, now: float, why: str) -> Fence:
    """The record with which a fence begins."""
    hosts = tuple(sorted(node.addresses.hosts()))
    return Fence(node.name, node.boot_id, hosts, FenceStep.FENCING, now, now, why)


def _go_on(
    snapshot: ClusterSnapshot, entry: FenceEntry, sight: Sight, config: FencingConfig, now: float
) -> Iterator[Action]:
    fence, name = entry.fence, entry.fence.node
    match fence.step:
        case FenceStep.FENCING | FenceStep.FAILED:
            yield from _prove(snapshot, entry, sight, config, now)
        case FenceStep.RECOVERING:
            yield Recover(name, entry)
        case FenceStep.FENCED:
            yield from _keep(snapshot, entry, sight, config)
        case FenceStep.RETURNED:
            yield Close(name, entry)


def _prove(
    snapshot: ClusterSnapshot, entry: FenceEntry, sight: Sight, config: FencingConfig, now: float
) -> Iterator[Action]:
    fence, name = entry.fence, entry.fence.node
    node = snapshot.nodes[name].node if name in snapshot.nodes else None
    age = sight.ages.get(name, 0.0)
    by = _confirmation(fence, methods(node, config), age, config)
    if by is not None:
        yield Advance(name, entry, confirmed(fence, by, now))
    elif name in snapshot.nodes and snapshot.nodes[name].alive is not None:
        yield CallOff(name, entry)
    elif not snapshot.maintenance:
        failed = fence.step is FenceStep.FAILED
        if not failed or config.failed_fence == "retry":
            yield from _tries(entry, methods(node, config), sight, config.retry_interval if failed else RETRY)
        if not failed and (age >= config.attempt_timeout or not methods(node, config)):
            yield Advance(name, entry, replace(fence, step=FenceStep.FAILED, since=now))


def _tries(entry: FenceEntry, usable: tuple[Method, ...], sight: Sight, interval: float) -> Iterator[Try]:
    said = {Method.STORAGE: entry.fence.storage, Method.POWER: entry.fence.power}
    for method in usable:
        if not said[method].confirmed and sight.tried.get((entry.fence.node, method), interval) >= interval:
            yield Try(entry.fence.node, entry, method)


def _confirmation(fence: Fence, usable: tuple[Method, ...], age: float, config: FencingConfig) -> Method | None:
    """Which method's word is taken now. One that is not the first to be asked is believed alone only after the others
    before it have had their time: a BMC may say what is not so, while what Ceph refuses is refused."""
    said = {Method.STORAGE: fence.storage, Method.POWER: fence.power}
    for method in usable:
        if said[method].confirmed:
            return method
        if age < config.patience:
            return None
    return None


def _keep(snapshot: ClusterSnapshot, entry: FenceEntry, sight: Sight, config: FencingConfig) -> Iterator[Action]:
    """A node that is fenced and has not come back yet."""
    fence, name = entry.fence, entry.fence.node
    node = snapshot.nodes[name].node if name in snapshot.nodes else None
    if affected(snapshot, name):
        yield Recover(name, entry)  # a machine came to it late, or has to wait for the word of its BMC
        if not snapshot.maintenance and Method.POWER in methods(node, config):
            yield from _tries(entry, (Method.POWER,), sight, config.retry_interval)
    elif fence.power.confirmed and fence.power.acted and config.power_on and not fence.power_restored:
        yield PowerOn(name, entry)
