"""When the configuration of a cluster may be replaced by another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pvc_core.model.configuration import Configuration
from pvc_core.model.fence import FenceStep
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.vm import Vm, VmState


def at_rest(vm: Vm) -> Vm:
    """The machine without what is under way with it."""
    state = VmState.STOP if vm.state is VmState.SHUTDOWN else vm.state
    return replace(vm, state=state, migration=None, shutdown_deadline=0.0, held="")


def obstacles(snapshot: ClusterSnapshot, wanted: Configuration) -> Iterator[str]:
    """Why ``wanted`` must not replace what is there, a sentence each. The snapshot needs the machines' XML.

    A machine that runs, or that is tied to another cluster, must be in it with the name and the XML that it has here.
    """
    for uuid, entry in snapshot.vms.items():
        vm = entry.vm
        if vm.migration is not None:
            yield f"VM {vm.name} is being moved to node {vm.migration.target}"
        why = "runs" if entry.holder else "is mirrored" if uuid in snapshot.mirrors else ""
        if not why:
            continue
        other = wanted.vms.get(uuid)
        if other is None:
            yield f"VM {vm.name} {why}, and would be removed"
        elif other.name != vm.name or wanted.xmls[uuid] != snapshot.xmls.get(uuid):
            yield f"VM {vm.name} {why}, and would be redefined"
        elif entry.holder and other.state is not vm.state:
            yield f"VM {vm.name} runs, and would come into the state {other.state}"
    for name, fence in snapshot.fences.items():
        if fence.fence.step not in (FenceStep.FENCED, FenceStep.RETURNED):
            yield f"node {name} is being fenced"
    for transfer in snapshot.transfers.values():
        yield f"snapshot {transfer.snapshot} of VM {transfer.vm} is being received"
