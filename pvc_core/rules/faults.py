"""What is wrong with the cluster now, and which faults are raised, renewed and dropped because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pvc_core.model.fault import Fault, FaultStatus, Finding, raised
from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import DaemonState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, ShownState, VmEntry
from pvc_core.model.vm import RunState
from pvc_core.rules import peer_faults
from pvc_core.rules.fencing import affected, answers

PATIENCE = 10.0  # seconds: what is over sooner is no fault, such as the restart of a daemon
RENEW = 60.0  # seconds after which a fault that goes on is written again
SEEN = 300.0  # seconds for which a fault that is over and acknowledged is kept
UNSEEN = 30 * 86400.0  # seconds for which a fault that is over is kept for somebody to see it
LIMIT = 500  # faults that are kept at most; who has as many looks for what they have in common

NODE_DOWN = 50
FENCE_FAILED = 50
FENCED = 10
BMC_MUTE = 10
VM_FAILED = 10
VMS_WAITING = 50  # at most; 10 for each
N_MINUS_1 = 10
OSD_DOWN = 10
OSD_OUT = 50
STORAGE = {"HEALTH_WARN": 10, "HEALTH_ERR": 50}

NAMED = 10  # machines that a message names; the others are counted


def conditions(snapshot: ClusterSnapshot) -> tuple[Finding, ...]:
    """Everything that is wrong now. In maintenance it is not wrong that a node is away."""
    return (
        *_nodes(snapshot),
        *_fences(snapshot),
        *_machines(snapshot),
        *_storage(snapshot),
        *_capacity(snapshot),
        *peer_faults.findings(snapshot),
    )


def up_to_date(snapshot: ClusterSnapshot) -> list[Fault]:
    """The faults with what is to be said of them now: their records are renewed once in a while."""
    now = {finding.id: finding.message for finding in conditions(snapshot)}
    return [replace(fault, message=now.get(key, fault.message)) for key, fault in snapshot.faults.items()]


def plugins(entry: NodeEntry) -> Iterator[Finding]:
    """What the health plugins of a running node find."""
    node = entry.node.name
    for plugin in entry.stats.plugins if entry.runs and entry.stats is not None else ():
        if plugin.health_delta > 0:
            message = f"{node}: plugin '{plugin.name}': {plugin.message}"
            yield Finding(f"plugin:{node}:{plugin.name}", node, plugin.health_delta, message)


def fenced(fence: Fence) -> Finding:
    """The event that a fence was confirmed."""
    message = f"{fence.node}: was fenced, confirmed by {fence.confirmed_by}: {fence.why}"
    return Finding(f"fenced:{fence.node}:{fence.began:.3f}", fence.node, FENCED, message, event=True)


def mute(bmcs: Mapping[str, str]) -> Iterator[Finding]:
    """What follows from BMCs that do not answer while all is well; by node, what was wrong with each."""
    for node, reason in bmcs.items():
        message = f"{node}: its BMC could not switch it off if it died, since it does not answer: {reason}"
        yield Finding(f"bmc:{node}", node, BMC_MUTE, message)


def _nodes(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    for entry in snapshot.nodes.values():
        if entry.runs:
            yield from plugins(entry)
        elif not snapshot.maintenance:
            yield _away(snapshot, entry)


def _away(snapshot: ClusterSnapshot, entry: NodeEntry) -> Finding:
    name = entry.node.name
    message = f"{name}: the node's daemon does not run ({entry.daemon_state})"
    guests = [vm for vm in snapshot.vms.values() if vm.holder == name]
    if entry.daemon_state is DaemonState.STOP and guests:
        message += f", and nobody guards what runs there ({_names(guests)}): start pvc-node there, or stop them by hand"
        return Finding(f"unguarded:{name}", name, NODE_DOWN, message)
    return Finding(f"node-down:{name}", name, NODE_DOWN, message)


def _fences(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    for name, entry in snapshot.fences.items():
        machines = affected(snapshot, name)
        if entry.fence.step is FenceStep.FAILED:
            idle = f", so {_names(machines)} may not be started elsewhere" if machines else ""
            yield _unproven(snapshot, entry.fence, f"could not be fenced{idle}")
        elif entry.fence.step is FenceStep.FENCED and machines:
            problem = f"is not proven to be off, which {_names(machines)} wait for: not all their disks are RBD volumes"
            yield _unproven(snapshot, entry.fence, problem)


def _unproven(snapshot: ClusterSnapshot, fence: Fence, problem: str) -> Finding:
    node, entry = fence.node, snapshot.nodes.get(fence.node)
    said = answers(fence, entry.node if entry is not None else None)
    message = (
        f"{node}: {problem}; {said}. Look whether the node is off, or switch it off by hand; "
        f"then run: pvc node fence-confirm {node}"
    )
    return Finding(f"fence-failed:{node}", node, FENCE_FAILED, message)


def _machines(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    waiting = []
    for entry in snapshot.vms.values():
        if entry.shown_state is not ShownState.FAIL or entry.status is None:
            continue
        if entry.status.run is RunState.WAITING:
            waiting.append(entry)
        else:
            message = f"VM {entry.vm.name}: {entry.status.reason}"
            yield Finding(f"vm-failed:{entry.vm.uuid}", "", VM_FAILED, message)
    if waiting:
        delta = min(VMS_WAITING, VM_FAILED * len(waiting))
        yield Finding("waiting:vms", "", delta, f"no node can take {_names(waiting, reasons=True)}")


def _names(entries: Sequence[VmEntry], *, reasons: bool = False) -> str:
    """``VM web, db and 3 more``, in the order of their names."""
    ordered = sorted(entries, key=lambda entry: entry.vm.name)[:NAMED]
    parts = [
        f"{entry.vm.name} ({entry.status.reason})" if reasons and entry.status is not None else entry.vm.name
        for entry in ordered
    ]
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return f"VM {', '.join(parts)}{more}"


def _storage(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    status = snapshot.storage
    if status is None:
        return
    down = sum(count for state, count in status.osd_states.items() if not state.startswith("up,"))
    out = sum(count for state, count in status.osd_states.items() if not state.endswith(",in"))
    if down:
        yield Finding("osd-down:storage", "", OSD_DOWN * down, f"storage: {down} OSD down")
    if out:
        yield Finding("osd-out:storage", "", OSD_OUT * out, f"storage: {out} OSD out")
    if status.health in STORAGE:
        message = f"storage: {status.health}: {'; '.join(status.health_messages) or 'no details'}"
        yield Finding("ceph:storage", "", STORAGE[status.health], message)


def _capacity(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    """One finding whichever node it is: what is short is the room of the whole cluster. In maintenance it may be short
    because a node is away."""
    shortfalls = snapshot.capacity.shortfalls if snapshot.capacity is not None else ()
    if shortfalls and not snapshot.maintenance:
        worst = max(shortfalls, key=lambda shortfall: len(shortfall.machines))
        message = (
            f"no room for the loss of {', '.join(shortfall.node for shortfall in shortfalls)}: "
            f"{len(worst.machines)} of the VMs on {worst.node} would have no place"
        )
        yield Finding("n-1:cluster", "", N_MINUS_1, message)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding with the first and the last time at which it was seen, in seconds since the epoch."""

    finding: Finding
    first: float
    last: float


def look(before: Mapping[str, Sighting], findings: Iterable[Finding], now: float) -> dict[str, Sighting]:
    """What was seen up to now, by the id of the fault. What is not there any more keeps the time at which it was."""
    seen = dict(before)
    for finding in findings:
        earlier = before.get(finding.id)
        seen[finding.id] = Sighting(finding, now if earlier is None else earlier.first, now)
    return seen


def changes(faults: Mapping[str, Fault], seen: Mapping[str, Sighting], now: float) -> dict[str, Fault | None]:
    """The faults that are to be written, by id; None: deleted. Worst first where there is no room for all."""
    wanted = {key: _kept(fault, seen.get(key), now) for key, fault in faults.items()}
    new = [sighting for key, sighting in seen.items() if key not in faults and _lasts(sighting, now)]
    new.sort(key=lambda sighting: -sighting.finding.health_delta)
    for sighting in new[: max(0, LIMIT - len(faults))]:
        wanted[sighting.finding.id] = raised(sighting.finding, sighting.first, sighting.last)
    return {key: fault for key, fault in wanted.items() if fault != faults.get(key)}


def _lasts(sighting: Sighting | None, now: float) -> bool:
    return (
        sighting is not None
        and sighting.last == now
        and abs(now - sighting.first) >= max(PATIENCE, sighting.finding.patience)
    )


def _kept(fault: Fault, sighting: Sighting | None, now: float) -> Fault | None:
    """What becomes of a fault that there is."""
    if sighting is not None and sighting.last == now and (not fault.over or _lasts(sighting, now)):
        return _renewed(fault, sighting.finding, now)
    if not fault.over and not fault.event:
        return replace(fault, over=True, last_reported=fault.last_reported if sighting is None else sighting.last)
    if fault.status is FaultStatus.ACK:
        kept = abs(now - max(fault.last_reported, fault.acknowledged_at)) < SEEN
    else:
        kept = fault.event or abs(now - fault.last_reported) < UNSEEN
    return fault if kept else None


def _renewed(fault: Fault, finding: Finding, now: float) -> Fault:
    """A fault that has become worse than what was acknowledged is new again."""
    if finding.health_delta > fault.health_delta:
        fault = replace(fault, status=FaultStatus.NEW, acknowledged_at=0.0)
    elif not fault.over and abs(now - fault.last_reported) < RENEW:
        return fault
    return replace(
        fault,
        node=finding.node,
        health_delta=finding.health_delta,
        message=finding.message,
        last_reported=now,
        over=False,
    )
