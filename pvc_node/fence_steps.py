"""What the primary does about a fence, one step each.

Every write is conditional on this node being primary still, so a fencer that was paused or cut off in the middle writes
nothing more. What it does outside (Ceph, BMCs) it does after proving the same; all of it is harmless to do twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from pvc_core.config import Config
from pvc_core.errors import PvcError, Stale
from pvc_core.model.domain import parse
from pvc_core.model.fence import Attempt, Fence, FenceStep, Method
from pvc_core.model.node import Primary
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, VmEntry
from pvc_core.model.vm import RunState, Vm, VmState, VmStatus
from pvc_core.ports import BlockStore, Clock, Power, PowerState
from pvc_core.rules import election, fencing, recovery
from pvc_core.state import fences, records
from pvc_core.state.cluster import ClusterState, Entry, Transaction
from pvc_core.state.statistics import with_stats
from pvc_core.state.view import ClusterView
from pvc_node.leadership import Leadership

log = logging.getLogger(__name__)


class FenceSteps:
    """Each raises Stale when it was decided on what is not true any more, and what its ports raise."""

    def __init__(
        self,
        config: Config,
        state: ClusterState,
        view: ClusterView,
        leadership: Leadership,
        power: Power,
        blocks: Callable[[], BlockStore],
        clock: Clock,
        on_try: Callable[[str, Method], object],
    ) -> None:
        """``on_try`` is told of each node and method when it is about to be tried."""
        self._node = config.node.name
        self._config = config.fencing
        self._state = state
        self._view = view
        self._leadership = leadership
        self._power = power
        self._blocks = blocks
        self._clock = clock
        self._on_try = on_try

    def begin(self, fence: Fence) -> None:
        """Write the record of a new fence, unless something has come up that forbids it."""
        snapshot = self._settled()  # which has what this fencer itself has begun a moment ago
        if fencing.is_held_up(snapshot, fence.node, fencing.fences_under_way(snapshot)):
            return
        transaction = self._transaction()
        maintenance = self._state.find(records.MAINTENANCE)
        if maintenance is None:
            transaction.absent(records.MAINTENANCE)
        elif maintenance.value.enabled:
            return
        else:
            transaction.check(maintenance)
        transaction.create(records.fence(fence.node), fence).commit()
        log.info("fence %s: online => %s: %s", fence.node, fence.step, fence.why)

    def attempt(self, entry: FenceEntry, method: Method) -> None:
        """Try to prove the node dead by one method, and note what came of it."""
        fence = entry.fence
        self._prove(entry)
        self._on_try(fence.node, method)
        try:
            attempt = self._shut_out(fence) if method is Method.STORAGE else self._cut_power(entry)
        except PvcError as error:
            before = fence.storage if method is Method.STORAGE else fence.power
            attempt = Attempt(acted=before.acted, message=str(error))
        self._note(fence, lambda now: fencing.attempted(now, method, attempt))
        if attempt.confirmed:
            log.info("fence %s: %s is confirmed", fence.node, method)

    def _shut_out(self, fence: Fence) -> Attempt:
        self._blocks().shut_out(fence.addresses)
        return Attempt(confirmed=True, acted=True)

    def _cut_power(self, entry: FenceEntry) -> Attempt:
        """Ask, switch off, and ask again: only what the BMC then says counts."""
        fence = entry.fence
        bmc = self._state.get(records.node(fence.node)).value.bmc
        if bmc is None:
            return Attempt(message="the node has no BMC in its configuration")
        if self._power.state(fence.node, bmc) is PowerState.OFF:
            return Attempt(confirmed=True, acted=fence.power.acted)
        self._prove_silent(entry)
        self._power.off(fence.node, bmc)
        if self._power.state(fence.node, bmc) is PowerState.OFF:
            return Attempt(confirmed=True, acted=True)
        return Attempt(acted=True, message="its BMC took the command to switch off and says that the power is on")

    def advance(self, entry: FenceEntry, fence: Fence) -> None:
        """Write the fence's next step."""
        transaction = self._transaction()
        if fence.confirmed_by is not None:
            empty = self._config.successful_fence == "migrate"
            fence = fences.confirm(self._state, transaction, entry, fence.confirmed_by, self._clock.now(), empty=empty)
            why = f"confirmed by {fence.confirmed_by}"
        else:
            transaction.update(Entry(records.fence(fence.node), entry.fence, entry.version), fence)
            node = self._state.find(records.node(fence.node))
            why = fencing.answers(fence, node.value if node is not None else None)
        transaction.commit()
        log.info("fence %s: %s => %s: %s", fence.node, entry.fence.step, fence.step, why)

    def recover(self, entry: FenceEntry) -> None:
        """Give the node's machines to others: each in a transaction of its own, so that one that cannot be placed holds
        up no other."""
        fence = entry.fence
        snapshot = self._settled()
        held = [
            machine
            for machine in fencing.affected(snapshot, fence.node)
            if self._may_free(machine, snapshot, fence) and not fencing.in_doubt(machine, fence.node, snapshot)
        ]
        snapshot = with_stats(self._state, self._view.snapshot())
        places = self._places(snapshot, held, fence)
        for machine in held:
            self._free(machine, entry, snapshot, *places.get(machine.vm.uuid, ("", "")))
        if fence.step is FenceStep.RECOVERING:
            done = replace(fence, step=FenceStep.FENCED, since=self._clock.now())
            self._transaction().update(Entry(records.fence(fence.node), fence, entry.version), done).commit()
            log.info("fence %s: recovering => fenced: %d machines are free of it", fence.node, len(held))

    def _may_free(self, entry: VmEntry, snapshot: ClusterSnapshot, fence: Fence) -> bool:
        """By the fence of this node, and by that of the other end of its live migration where that is fenced too."""
        xml = self._state.find(records.vm_xml(entry.vm.uuid))
        only_rbd = xml is not None and all(disk.volume or disk.readonly for disk in parse(xml.value).disks)
        migration = entry.vm.migration
        other = snapshot.fences.get(migration.target) if migration is not None and migration.live else None
        fences = [fence] if other is None else [fence, other.fence]
        return all(fencing.may_free(each, only_rbd=only_rbd) for each in fences)

    def _places(self, snapshot: ClusterSnapshot, held: list[VmEntry], fence: Fence) -> dict[str, tuple[str, str]]:
        """Node and, where there is none, reason for each machine that is to run; by its uuid."""
        if self._config.successful_fence == "none":
            return {}
        now = self._clock.now()
        homeless = []
        for entry in held:
            vm, _ = fencing.freed(entry, fence.node, now)
            if vm.node == fence.node and vm.state is VmState.START and not fencing.receiver(entry, snapshot):
                homeless.append(replace(entry, vm=vm))
        # A node that does not reach the storage to shut another one out is no place for a machine either.
        alone = fence.confirmed_by is Method.POWER and "storage" in self._config.methods
        unfit = {self._node} if alone and not fence.storage.confirmed else set()
        return {place.uuid: (place.node, place.reason) for place in recovery.plan(snapshot, homeless, unfit)}

    def _free(self, entry: VmEntry, fenced: FenceEntry, snapshot: ClusterSnapshot, target: str, reason: str) -> None:
        fence = fenced.fence
        vm, status = fencing.freed(entry, fence.node, self._clock.now())
        target = target or fencing.receiver(entry, snapshot)
        if target:
            vm = fencing.placed(vm, target)
        elif reason:
            status = _waits(status, fence.node, vm, reason, self._clock.now())
        try:
            self._write(entry, vm, status, fenced)
        except Stale as error:
            if error.path in (records.PRIMARY.path, records.fence(fence.node).path):
                raise
            log.info("vm %s (%s): left for another look: %s", vm.name, vm.uuid, error)
            return
        where = f"node {vm.node}" if vm.node != fence.node else f"no node ({reason or 'it is not to run'})"
        log.info("vm %s (%s): on %s => %s: %s is fenced", vm.name, vm.uuid, fence.node, where, fence.node)

    def place_waiting(self) -> None:
        """Look for a place for the machines that wait for one."""
        self._settled()
        snapshot = with_stats(self._state, self._view.snapshot())
        waiting = {entry.vm.uuid: entry for entry in recovery.waiting(snapshot)}
        for place in recovery.plan(snapshot, list(waiting.values())):
            entry = waiting[place.uuid]
            status = entry.status
            if status is None:
                continue
            if place.node:
                runnable = replace(status, run=RunState.STOPPED, reason="", since=self._clock.now())
                self._write(entry, fencing.placed(entry.vm, place.node), runnable)
                log.info("vm %s (%s): waiting => on %s: there is room", entry.vm.name, place.uuid, place.node)
            elif place.reason != status.reason:
                self._write(entry, entry.vm, replace(status, reason=place.reason))

    def drop_osds(self, names: Collection[str]) -> None:
        """Spare everybody the wait for the OSDs of nodes that have just died: each write of any machine to their part
        of the storage would wait until they are fenced."""
        nodes = [entry.node for name, entry in self._settled().nodes.items() if name in names]
        self._transaction().commit()
        dropped = self._blocks().drop_silent_osds({host for node in nodes for host in node.addresses.hosts()})
        if dropped:
            log.warning("OSDs %s do not answer and are marked down: they are at %s", dropped, ", ".join(sorted(names)))

    def call_off(self, entry: FenceEntry) -> None:
        """End a fence that nothing has confirmed, since its node is back."""
        fence = entry.fence
        if "storage" in self._config.methods:
            self._prove(entry)
            if self._blocks().shut_out_hosts() & set(fence.addresses):  # what it runs is broken: the fence goes its way
                self.attempt(entry, Method.STORAGE)
                return
        self._end(entry, "it is back, and nothing was confirmed")

    def power_on(self, entry: FenceEntry) -> None:
        """Switch the node's power on again."""
        fence = entry.fence
        bmc = self._state.get(records.node(fence.node)).value.bmc
        if bmc is not None:
            self._prove(entry)
            self._power.on(fence.node, bmc)
            log.info("fence %s: its power is switched on again", fence.node)
        self._note(fence, lambda now: replace(now, power_restored=True))

    def close(self, entry: FenceEntry) -> None:
        """End a fence whose node is well again."""
        fence = entry.fence
        for machine in fencing.affected(self._settled(), fence.node):  # those with disks of the node's own stay there
            self._write(machine, *fencing.freed(machine, fence.node, self._clock.now()), entry)
        self._end(entry, "it runs none of its former machines")

    def _end(self, entry: FenceEntry, why: str) -> None:
        key = records.fence(entry.fence.node)
        self._transaction().delete(Entry(key, entry.fence, entry.version)).commit()
        log.info("fence %s: %s => none: %s", entry.fence.node, entry.fence.step, why)

    def sweep(self) -> frozenset[str]:
        """The nodes that are shut out of the storage and have no fence. A fencer that was stopped in the middle may
        have shut a node out after its fence had ended; what such a node runs is broken, so it is fenced anew, and
        properly."""
        if "storage" not in self._config.methods:
            return frozenset()
        shut_out = self._blocks().shut_out_hosts()
        snapshot = self._settled()
        hosts = {name: entry.node.addresses.hosts() for name, entry in snapshot.nodes.items()}
        stray = frozenset(name for name in hosts if hosts[name] & shut_out and name not in snapshot.fences)
        if self._node in stray:
            self._hand_over(snapshot, stray)
        return stray

    def _hand_over(self, snapshot: ClusterSnapshot, stray: frozenset[str]) -> None:
        """Nobody fences himself: let another coordinator be primary, if there is one that is well."""
        ill = {self._node, *stray, *snapshot.fences}
        others = [name for name in election.candidates(snapshot) if name not in ill]
        if others:
            entry = self._state.get(records.PRIMARY)
            self._transaction().update(entry, Primary(others[0], entry.value.epoch + 1)).commit()
            log.warning("primary: %s => %s: this node is shut out of the storage", self._node, others[0])

    def _write(self, entry: VmEntry, vm: Vm, status: VmStatus | None, fenced: FenceEntry | None = None) -> None:
        uuid = vm.uuid
        transaction = self._transaction()
        if fenced is not None:
            transaction.check(Entry(records.fence(fenced.fence.node), fenced.fence, fenced.version))
        transaction.update(Entry(records.vm(uuid), entry.vm, entry.version), vm)
        key = records.vm_status(uuid)
        if entry.status is None:
            if status is not None:
                transaction.create(key, status)
        elif status is not None:
            transaction.update(Entry(key, entry.status, entry.status_version), status)
        transaction.commit()

    def _note(self, fence: Fence, change: Callable[[Fence], Fence]) -> None:
        """Change the record of this fence as it is by now; nothing when it has ended meanwhile."""
        while True:
            entry = self._state.find(records.fence(fence.node))
            if entry is None or entry.value.began != fence.began:
                return
            try:
                self._transaction().update(entry, change(entry.value)).commit()
                return
            except Stale as error:
                if error.path != entry.key.path:
                    raise

    def _prove(self, entry: FenceEntry) -> None:
        """Raise Stale unless this node is primary and the fence stands as it was decided on, at this moment: what was
        done about it meanwhile may have made the decision wrong."""
        key = records.fence(entry.fence.node)
        self._transaction().check(Entry(key, entry.fence, entry.version)).commit()

    def _prove_silent(self, entry: FenceEntry) -> None:
        """Raise Stale unless this node is primary, the fence still stands, and its node has not come back: a BMC may
        take long to say that the power is on, and it may be that of the next boot by then."""
        found = self._state.get(records.fence(entry.fence.node))
        if found.value.began != entry.fence.began:
            raise Stale(found.key.path)
        self._transaction().check(found).absent(records.alive(entry.fence.node)).commit()

    def _transaction(self) -> Transaction:
        transaction = self._state.transaction()
        self._leadership.check(transaction)
        return transaction

    def _settled(self) -> ClusterSnapshot:
        self._view.settle()
        return self._view.snapshot()


def _waits(status: VmStatus | None, node: str, vm: Vm, reason: str, now: float) -> VmStatus:
    base = status or VmStatus(RunState.STOPPED, node, 0)
    return replace(base, run=RunState.WAITING, generation=vm.generation, since=now, reason=reason)
