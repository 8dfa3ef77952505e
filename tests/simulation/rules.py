"""What must never happen, looked for after every event and in every transaction; and what must have happened at the
end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import msgspec

from pvc_core.model.fence import Fence, FenceStep, Method
from pvc_core.model.node import DomainState
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.ports import Check, Create, Write
from pvc_core.state import records
from pvc_core.state.records import Key
from tests.simulation.ports import FLOATING

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.hypervisor import Qemu
    from tests.simulation.store import Records, SimStore
    from tests.simulation.world import World

HELD = (RunState.STARTING, RunState.RUNNING)
UNDER_WAY = (FenceStep.FENCING, FenceStep.RECOVERING)
LEASE = 4.0  # seconds for which a node may have floating addresses without proving that they are its own
PATIENCE = 20.0  # seconds in which what was begun with a quorum may end without one


class Violation(BaseException):
    """An invariant is broken. No ``except Exception`` of the code under test hides it."""


class Rules:
    def __init__(self, world: World) -> None:
        self._world = world
        self.boots: dict[tuple[str, int], int] = {}  # (node, incarnation of its daemon) -> boot of the node
        self.doubled: dict[str, list[Qemu]] = {}  # machines with more than one process
        self._quorum_lost: float | None = None
        self._handed_over = -LEASE  # when the primary was last made so by request

    # The first: no machine writes from two nodes.

    def after_event(self) -> None:
        for uuid, qemus in self.doubled.items():
            writers = [qemu.host.name for qemu in qemus if qemu.writes]
            if len(writers) > 1:
                name = self._world.machines[uuid].name
                raise Violation(f"{name} can write from {' and '.join(writers)} at the same time")

    def count_writers(self, uuid: str) -> None:
        """To be called when a process of a machine has begun or ended."""
        qemus = [qemu for qemu in self._world.qemus() if qemu.uuid == uuid]
        if len(qemus) > 1:
            self.doubled[uuid] = qemus
        else:
            self.doubled.pop(uuid, None)

    # No two nodes are primary, nor have the primary's addresses.

    def address_taken(self, address: str) -> None:
        """The kernel takes them from a node that does not prove that it is primary. Until then one may have them that
        was primary before the role was handed over, or that was stopped in the middle and has just gone on."""
        now = self._world.loop.time
        if now - self._handed_over < LEASE:
            return
        hosts = [host for host in self._world.hosts.values() if host.serves and now - host.resumed >= LEASE]
        holders = [host.name for host in hosts if host.network.held([address])]
        if len(holders) > 1:
            raise Violation(f"{' and '.join(holders)} have the floating address {address} at the same time")

    # Without a quorum no machine is stopped, and nobody is struck.

    def quorum_changed(self) -> None:
        """To be called before it does."""
        self._quorum_lost = self._world.loop.time if self._world.servers.quorum else None

    def destroyed(self, host: Host) -> None:
        if self._world.layout.fencing.suicide_intervals == 0 or not host.alone:
            self._with_quorum(host, "a machine is stopped")

    def struck(self, host: Host, what: str) -> None:
        """A node is to be switched off or shut out."""
        self._with_quorum(host, what)

    def _with_quorum(self, host: Host, what: str) -> None:
        lost, now = self._quorum_lost, self._world.loop.time
        if lost is not None and now - max(lost, host.resumed) > PATIENCE:
            raise Violation(f"{what} by {host.name} {now - lost:.1f} s after ZooKeeper lost its quorum")

    # Transactions.

    def committed(self, before: Records, writes: Sequence[Write], author: SimStore | None) -> None:
        proven = self._check_epoch(before, writes, author)
        for write in writes:
            if isinstance(write, Check):
                continue
            parts = write.path.split("/")
            match parts[2:]:
                case ["primary"]:
                    self._check_primary(before, author)
                case ["fences", name]:
                    self._check_fence(before, name, author, proven, isinstance(write, Create))
                case ["vms", uuid] | ["vms", uuid, "status"]:
                    self._check_machine(before, uuid, author, proven)

    def _check_epoch(self, before: Records, writes: Sequence[Write], author: SimStore | None) -> bool:
        """Whether the transaction proves that its author is primary; what claims so must be."""
        for write in writes:
            if isinstance(write, Check) and write.path == records.PRIMARY.path:
                primary = _read(before, records.PRIMARY)
                if author is not None and author.process is not None and primary.node != author.process.host.name:
                    raise Violation(f"{author.process.name} wrote as primary, which is {primary.node}")
                return True
        return False

    def _check_primary(self, before: Records, author: SimStore | None) -> None:
        old, new = _read(before, records.PRIMARY), self.now(records.PRIMARY)
        elected = author is not None and author.process is self._world.hosts[new.node].daemon
        if not elected:
            self._handed_over = self._world.loop.time
        if new is None or (old is not None and new.node != old.node and new.epoch <= old.epoch):
            raise Violation(f"the epoch does not rise: {old} => {new}")
        if not self._world.hosts[new.node].plan.coordinator:
            raise Violation(f"{new.node} is primary and no coordinator")

    def _check_fence(self, before: Records, name: str, author: SimStore | None, proven: bool, begun: bool) -> None:
        host = author.process.host.name if author is not None and author.process is not None else ""
        if host and not proven and host != name:
            raise Violation(f"{host} changed the fence of {name} without proving that it is primary")
        fence = self.now(records.fence(name))
        if not begun or fence.confirmed_by is Method.HAND:
            return
        maintenance = _read(before, records.MAINTENANCE)
        if maintenance is not None and maintenance.enabled:
            raise Violation(f"a fence of {name} began in maintenance")
        site = self._world.hosts[name].plan.site
        for other in self.fences(before):
            same = bool(site) and self._world.hosts[other.node].plan.site == site
            if other.step in UNDER_WAY and not same:
                raise Violation(f"a fence of {name} began while that of {other.node} was under way")

    def _check_machine(self, before: Records, uuid: str, author: SimStore | None, proven: bool) -> None:
        """A machine is taken from the node that has it only when nothing there can write to its disks any more."""
        old_vm, old = _read(before, records.vm(uuid)), _read(before, records.vm_status(uuid))
        if old is None or old.run not in HELD:
            return
        name, holder = self._world.machines[uuid].name, self._world.hosts[old.node]
        vm, status = self.now(records.vm(uuid)), self.now(records.vm_status(uuid))
        if status is not None and status.run in HELD and status.node == old.node:
            if vm.node != old_vm.node and vm.node != old.node:
                raise Violation(f"{name} is given to {vm.node} while {old.node} has it")
            return
        qemu = holder.hypervisor.qemus.get(uuid)
        if qemu is not None and not (qemu.shut_out or qemu.suspended):
            raise Violation(f"{name} is taken from {old.node}, where it can still write")
        by = author.process.host if author is not None and author.process is not None else None
        if by is holder or self._is_confirmed(uuid, old):
            return
        if by is not None and uuid in by.hypervisor.qemus and status is not None and status.node == by.name:
            return  # it was handed over
        raise Violation(f"{name} is taken from {old.node} before it is confirmed that this cannot start it any more")

    def _is_confirmed(self, uuid: str, held: VmStatus) -> bool:
        holder, plan = self._world.hosts[held.node], self._world.machines[uuid]
        if not holder.powered or holder.boot != self.boots[held.node, held.incarnation]:
            return True
        fence = self.now(records.fence(held.node))
        if fence is not None and fence.step is FenceStep.RETURNED:
            return True
        return not plan.local_disk and self._world.ceph.is_out(holder)

    # The end.

    def ended_well(self) -> list[str]:
        """What is not as it should be when all is healed and time has passed."""
        return list(self._complaints())

    def _complaints(self) -> Iterator[str]:
        for uuid, plan in self._world.machines.items():
            yield from self._about_machine(uuid, plan.name)
        for host in self._world.hosts.values():
            yield from self._about_host(host)
        for fence in self.fences():
            yield f"the fence of {fence.node} is left: {fence}"
        primary = self.now(records.PRIMARY)
        if primary is None or not primary.ready or self.now(records.alive(primary.node)) is None:
            yield f"there is no primary that lives and is ready: {primary}"

    def _about_machine(self, uuid: str, name: str) -> Iterator[str]:
        vm: Vm = self.now(records.vm(uuid))
        qemus = [qemu for qemu in self._world.qemus() if qemu.uuid == uuid]
        wanted = [vm.node] if vm.state is VmState.START else []
        running = [qemu.host.name for qemu in qemus]
        if running != wanted or vm.migration is not None:
            status = self.now(records.vm_status(uuid))
            yield f"{name} should run on {wanted or 'no node'} and runs on {running or 'none'}: {vm}, {status}"
        elif any(qemu.shut_out or qemu.broken for qemu in qemus):
            yield f"{name} runs on {running} and cannot write"

    def _about_host(self, host: Host) -> Iterator[str]:
        if self.now(records.alive(host.name)) is None:
            yield f"{host.name} shows no sign of life"
        state = self.now(records.node(host.name)).domain_state
        if state is not DomainState.READY:
            yield f"{host.name} is not ready ({state})"
        out = self._world.ceph.blocks.shut_out_hosts() & host.addresses.hosts()
        if out:
            yield f"{host.name} is left shut out: {', '.join(sorted(out))}"
        primary = self.now(records.PRIMARY)
        held = host.network.held(astuple(FLOATING))
        if len(held) != (len(astuple(FLOATING)) if primary is not None and primary.node == host.name else 0):
            yield f"{host.name} has the floating addresses {sorted(held)}, and {primary} is primary"

    def fences(self, tree: Records | None = None) -> list[Fence]:
        tree = self._world.servers.records if tree is None else tree
        prefix = f"{records.FENCES}/"
        return [_read(tree, records.fence(path.removeprefix(prefix))) for path in tree if path.startswith(prefix)]

    def now(self, key: Key[Any]) -> Any:
        return _read(self._world.servers.records, key)


def _read(tree: Records, key: Key[Any]) -> Any:
    record = tree.get(key.path)
    return None if record is None else msgspec.json.decode(record.raw.data, type=key.type)
